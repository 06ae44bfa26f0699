//! A session in a process of its own, that takes its orders by lines of JSON.
//!
//! ```text
//!   to the worker:   {setting}  "load-random"       "get"             end of file
//!   from it:                    {"Ok":{measured}}   {"Err":"why not"}
//! ```

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::counters::Counters;
use super::instructions::{Instructions, under_callgrind};
use super::session::{Measured, Session};
use super::workload::Workload;
use super::{Options, Setting};
use crate::Failure;

/// A session, wherever it is.
pub enum Worker {
    /// In this process.
    Here(String, Box<Session>),
    /// In another one.
    There(Process),
}

/// A process, and its ends of the line. It is ended and waited for with the value.
pub struct Process {
    name: String,
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one.
    ///
    /// # Errors
    /// The engine can't be made, or the process can't be started.
    pub fn new(setting: &Setting, options: &Options) -> Result<Self, Failure> {
        let process = options.worker.as_ref().filter(|_| options.simulated.is_none());
        let Some((program, arguments)) = process else {
            return Ok(Self::Here(setting.store.clone(), Box::new(session(setting)?)));
        };
        let (program, arguments) = match &setting.callgrind {
            Some(files) => &under_callgrind(files, program.as_os_str(), arguments),
            None => &(program.clone(), arguments.clone()),
        };
        let mut command = Command::new(program);
        let child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child =
            child.map_err(|error| Failure::at(program, &format_args!("can't be started: {error}")))?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("no line to the worker"));
        };
        let name = setting.store.clone();
        let answers = BufReader::new(answers);
        let mut process = Process { name, child, orders: Some(orders), answers };
        process.order(setting)?;
        Ok(Self::There(process))
    }

    /// Has it run a workload.
    ///
    /// # Errors
    /// What failed there, or the worker is gone.
    pub fn run(&mut self, workload: Workload) -> Result<Measured, Failure> {
        match self {
            Self::Here(store, session) => session.run(workload).map_err(|failure| told(store, &failure)),
            Self::There(process) => {
                process.order(&workload)?;
                process.answer()
            }
        }
    }
}

impl Process {
    fn order(&mut self, order: &impl serde::Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(order).map_err(|error| self.lost(&error))?;
        let sent = match &mut self.orders {
            Some(orders) => writeln!(orders, "{line}").and_then(|()| orders.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        sent.map_err(|error| self.lost(&error))
    }

    fn answer(&mut self) -> Result<Measured, Failure> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err(self.lost(&"it ended without an answer")),
            Ok(_) => match serde_json::from_str::<Result<Measured, String>>(&line) {
                Ok(answer) => answer.map_err(Failure::new),
                Err(error) => Err(self.lost(&error)),
            },
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn lost(&self, why: &dyn fmt::Display) -> Failure {
        Failure::new(format!("the worker for {}: {why}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends when there are no more orders; whoever waits for nothing must not wait for its work either.
        drop(self.orders.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes orders from standard input, and answers on standard output, until there are no more.
///
/// # Errors
/// Whoever gives the orders is gone, or makes no sense.
pub fn serve() -> Result<(), Failure> {
    // A parent that was killed can't tell us to end.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let mut orders = io::stdin().lock().lines();
    let mut next = || match orders.next() {
        Some(Ok(line)) => Ok(Some(line)),
        Some(Err(error)) => Err(misunderstood(&error)),
        None => Ok(None),
    };
    let Some(line) = next()? else { return Err(misunderstood(&"no orders came")) };
    let setting = serde_json::from_str(&line).map_err(|error| misunderstood(&error))?;
    let mut session = session(&setting);
    while let Some(line) = next()? {
        let workload = serde_json::from_str(&line).map_err(|error| misunderstood(&error))?;
        let answer = match &mut session {
            Ok(session) => {
                session.run(workload).map_err(|failure| told(&setting.store, &failure).to_string())
            }
            Err(failure) => Err(failure.to_string()),
        };
        let line = serde_json::to_string(&answer).map_err(|error| misunderstood(&error))?;
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| misunderstood(&error))?;
    }
    Ok(())
}

fn session(setting: &Setting) -> Result<Session, Failure> {
    let counters = Counters::new(setting.disk.clone());
    let instructions = Instructions::new(setting.callgrind.as_deref());
    Ok(Session::new(setting.engine()?, setting.shape(), setting.amounts, counters, instructions))
}

fn told(store: &str, failure: &Failure) -> Failure {
    Failure::new(format!("{store}: {failure}"))
}

fn misunderstood(why: &dyn fmt::Display) -> Failure {
    Failure::new(format!(
        "`--worker` is how the measurement starts itself, and takes its orders from there: {why}"
    ))
}
