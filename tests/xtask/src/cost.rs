//! `cargo xtask cost`: instructions and stack that the engine's work takes on a Cortex-M3, held against ceilings.

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::cargo::root;
use crate::{firmware, qemu};

/// It takes a second. This is for the day on which it hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// What is measured where.
const IMAGES: [&str; 2] = ["cost", "cost-lsm"];
/// The row that checks the measurement itself: a loop of so many instructions.
const CALIBRATION: (&str, u64) = ("calibration", 10_000);
/// The counter's ticks are not quite as fine as instructions.
const TOLERANCE: u64 = 4;

/// What one kind of work takes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: String,
    instructions: u64,
    stack: u64,
}

pub fn run() -> Result<(), Failure> {
    qemu::ensure()?;
    let file = root().join("tests/firmware/cost.toml");
    let ceilings = read_ceilings(&std::fs::read_to_string(file)?)?;
    let built = firmware::build(&firmware::COST)?;
    let mut rows = Vec::new();
    for image in IMAGES {
        let mut command = Command::new("qemu-system-arm");
        command.args(["-M", "mps2-an385", "-display", "none", "-monitor", "none", "-serial", "null"]);
        // An instruction in 64 ns, as `tests/firmware/src/measure.rs` assumes.
        command.args(["-icount", "shift=6", "-chardev", "stdio,id=console"]);
        command.args(["-semihosting-config", "enable=on,target=native,chardev=console"]);
        command.arg("-kernel").arg(built.path(image));
        rows.extend(calibrated(image, parse(&output(&mut command)?)?)?);
    }
    let (table, over) = compare(&rows, &ceilings)?;
    print!(
        "instructions / ceiling and bytes of stack / ceiling, Cortex-M3, opt-level \"s\", `fast-crc`, {}\n{table}",
        built.compiler
    );
    if over.is_empty() { Ok(()) } else { Err(over.join("; ").into()) }
}

/// What the command prints until it ends; an error if it doesn't.
fn output(command: &mut Command) -> Result<String, Failure> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    if let Err(failure) = wait(&mut child) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(failure);
    }
    Ok(String::from_utf8(child.wait_with_output()?.stdout)?)
}

/// A few lines fit into the pipe, so nothing has to be read meanwhile.
fn wait(child: &mut Child) -> Result<(), Failure> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("qemu-system-arm: {status}").into()),
            None if Instant::now() > deadline => {
                return Err(format!("the image did not end within {} s", LIMIT.as_secs()).into());
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn parse(text: &str) -> Result<Vec<Row>, Failure> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let row = Row {
            name: words.next()?.to_owned(),
            instructions: words.next()?.parse().ok()?,
            stack: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(row)
    };
    text.lines().map(|line| row(line).ok_or_else(|| format!("the image says {line:?}").into())).collect()
}

fn read_ceilings(text: &str) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (name, value) in text.parse::<toml::Table>()? {
        let number = |key: &str| {
            let number =
                value.get(key).and_then(toml::Value::as_integer).and_then(|number| number.try_into().ok());
            number.ok_or_else(|| format!("ceilings of {name}: {key} must be a number"))
        };
        rows.push(Row { instructions: number("instructions")?, stack: number("stack")?, name });
    }
    Ok(rows)
}

/// The rows of an image without the one that checks how it counts.
fn calibrated(image: &str, mut rows: Vec<Row>) -> Result<Vec<Row>, Failure> {
    let (calibration, expected) = CALIBRATION;
    let at = rows.iter().position(|row| row.name == calibration);
    let counted = rows.remove(at.ok_or_else(|| format!("the image {image} did not calibrate"))?).instructions;
    if counted.abs_diff(expected) > TOLERANCE {
        return Err(format!("{image}: {expected} instructions are counted as {counted}").into());
    }
    Ok(rows)
}

/// The table, and what is over its ceiling.
fn compare(rows: &[Row], ceilings: &[Row]) -> Result<(String, Vec<String>), Failure> {
    let (mut table, mut over) = (String::new(), Vec::new());
    for ceiling in ceilings {
        let name = &ceiling.name;
        let row =
            rows.iter().find(|row| row.name == *name).ok_or_else(|| format!("{name} was not measured"))?;
        let _ = write!(table, "{name:14}");
        for (unit, took, ceiling) in [
            ("instructions", row.instructions, ceiling.instructions),
            ("bytes of stack", row.stack, ceiling.stack),
        ] {
            let mark = if took > ceiling { "!" } else { "" };
            let _ = write!(table, " {:>20}", format!("{mark}{took} / {ceiling}"));
            if took > ceiling {
                over.push(format!("{name} takes {took} {unit}, its ceiling is {ceiling}"));
            }
        }
        table.push('\n');
    }
    match rows.iter().find(|row| ceilings.iter().all(|ceiling| ceiling.name != row.name)) {
        Some(row) => Err(format!("{} has no ceiling", row.name).into()),
        None => Ok((table, over)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, instructions: u64, stack: u64) -> Row {
        Row { name: name.into(), instructions, stack }
    }

    #[test]
    fn lines_are_parsed_and_anything_else_is_refused() {
        assert_eq!(parse("a 1 2\nb 30 40\n").unwrap(), [row("a", 1, 2), row("b", 30, 40)]);
        for bad in ["failed", "a 1", "a 1 2 3", "a x 2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_more_than_the_ceiling_is_over() {
        let rows = [row("a", 100, 10)];
        assert!(compare(&rows, &[row("a", 100, 10)]).unwrap().1.is_empty());
        assert_eq!(compare(&rows, &[row("a", 99, 9)]).unwrap().1.len(), 2);
        assert!(compare(&rows, &[]).is_err(), "no ceiling");
        assert!(compare(&rows, &[row("a", 100, 10), row("b", 1, 1)]).is_err(), "not measured");
    }

    #[test]
    fn an_image_that_counts_wrongly_is_not_believed() {
        let good = vec![row("calibration", 9_998, 0), row("a", 100, 10)];
        assert_eq!(calibrated("x", good).unwrap(), [row("a", 100, 10)]);
        assert!(calibrated("x", vec![row("calibration", 20_000, 0)]).is_err(), "counts wrongly");
        assert!(calibrated("x", vec![row("a", 100, 10)]).is_err(), "not calibrated");
    }
}
