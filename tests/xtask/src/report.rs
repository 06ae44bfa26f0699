//! Steps in order, each with a heading and a time; the first failure ends the run.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::Failure;

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// There was nothing to run it with.
    Skipped,
}

/// One step of a run.
pub struct Step {
    pub name: String,
    pub run: Box<dyn FnOnce() -> Result<Outcome, Failure>>,
}

impl Step {
    pub fn new(name: impl Into<String>, run: impl FnOnce() -> Result<Outcome, Failure> + 'static) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// Runs `steps` until one fails, and prints what came of each.
pub fn run(steps: Vec<Step>) -> Result<(), Failure> {
    let total = steps.len();
    let mut rows: Vec<(String, Option<Duration>, &str)> = Vec::new();
    let mut failed = None;
    for (number, step) in (1..).zip(steps) {
        if failed.is_some() {
            rows.push((step.name, None, "not run"));
            continue;
        }
        println!("\n=== {number}/{total} {} ===", step.name);
        let start = Instant::now();
        let result = (step.run)();
        let took = start.elapsed();
        let outcome = match result {
            Ok(Outcome::Passed) => "ok",
            Ok(Outcome::Skipped) => "skipped",
            Err(failure) => {
                failed = Some(format!("{}: {failure}", step.name));
                "FAILED"
            }
        };
        println!("--- {}: {outcome} after {:.1} s", step.name, took.as_secs_f64());
        rows.push((step.name, Some(took), outcome));
    }
    print!("\n{}", table(&rows));
    failed.map_or(Ok(()), |failure| Err(failure.into()))
}

fn table(rows: &[(String, Option<Duration>, &str)]) -> String {
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0).max("step".len());
    let mut text = format!("{:width$}  {:>8}  ok\n", "step", "seconds");
    let mut sum = Duration::ZERO;
    for (name, took, outcome) in rows {
        sum += took.unwrap_or_default();
        let seconds = took.map_or("-".to_owned(), |took| format!("{:.1}", took.as_secs_f64()));
        let _ = writeln!(text, "{name:width$}  {seconds:>8}  {outcome}");
    }
    let _ = writeln!(text, "{:width$}  {:>8.1}", "all", sum.as_secs_f64());
    text
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn the_first_failure_ends_the_run() {
        let ran = Rc::new(Cell::new(0));
        let step = |name: &str, result: Result<Outcome, &'static str>| {
            let ran = Rc::clone(&ran);
            Step::new(name, move || {
                ran.set(ran.get() + 1);
                result.map_err(Failure::from)
            })
        };
        let steps =
            vec![step("a", Ok(Outcome::Skipped)), step("b", Err("broken")), step("c", Ok(Outcome::Passed))];
        assert_eq!(run(steps).unwrap_err().to_string(), "b: broken");
        assert_eq!(ran.get(), 2);
        assert!(run(vec![step("a", Ok(Outcome::Passed))]).is_ok());
    }

    #[test]
    fn the_table_names_every_step() {
        let rows = [
            ("first".to_owned(), Some(Duration::from_millis(1500)), "ok"),
            ("second one".to_owned(), None, "not run"),
        ];
        let expected = "step         seconds  ok\n\
                        first            1.5  ok\n\
                        second one         -  not run\n\
                        all              1.5\n";
        assert_eq!(table(&rows), expected);
    }
}
