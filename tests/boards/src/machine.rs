//! One board, switched on: QEMU as a process, its messages decoded as they come, a time limit, an end.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use defmt_decoder::{DecodeError, Table};
use esker_qemu::settings::STEPS;

use crate::Failure;
use crate::board::Board;
use crate::medium::{Cut, Medium, Wrote};
use crate::message::Message;
use crate::nbd;

/// A run takes a fraction of a second. This is for the day on which it hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A board with its image.
#[derive(Debug)]
pub struct Machine<'a> {
    pub board: &'a Board,
    pub image: PathBuf,
    /// Print what the board says.
    pub verbose: bool,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What the board said; in a run that was cut, what it said while it had power.
    pub messages: Vec<Message>,
    /// The text of the last message, for whoever looks for a reason.
    pub last_words: String,
    /// Whether it ended by itself with status 0.
    pub success: bool,
    /// The power went.
    pub cut: bool,
    /// Writes that reached the medium whole.
    pub writes: u64,
}

enum Event {
    Said(String),
    /// Standard output has ended: the process has, or is about to.
    Silent,
    Undecodable,
    Cut,
    Served(Result<u64, std::io::Error>),
}

impl Machine<'_> {
    /// Runs the board with our hands on every write, until it ends or the power goes.
    pub fn run(&self, medium: &Path, cut: Option<Cut>) -> Result<Outcome, Failure> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("nbd");
        let listener = UnixListener::bind(&socket)?;
        let (events, inbox) = channel();
        let mut medium = Medium::open(medium, cut)?;
        let mut child = self.start(&socket, events.clone())?;
        let mut pace = child.stdin.take();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let served = listener.accept().and_then(|(stream, _)| {
                    nbd::serve(stream, &mut medium, |wrote| match wrote {
                        // One byte for each write, for a part that could not tell otherwise. It may be gone already.
                        Wrote::All => _ = pace.as_mut().map(|pace| pace.write_all(b".")),
                        Wrote::Torn => _ = events.send(Event::Cut),
                        Wrote::Nothing => {}
                    })
                });
                let _ = events.send(Event::Served(served.map(|()| medium.whole())));
            });
            self.watch(child, &inbox, &socket)
        })
    }

    fn start(&self, socket: &Path, events: Sender<Event>) -> Result<Child, Failure> {
        let elf = std::fs::read(&self.image).map_err(|error| format!("{}: {error}", self.image.display()))?;
        let table = Table::parse(&elf)?.ok_or("the image has no `.defmt` section")?;
        let mut command = Command::new("qemu-system-arm");
        command.args(["-M", self.board.machine, "-display", "none", "-monitor", "none", "-serial", "null"]);
        command.args(["-chardev", "stdio,id=console,signal=off"]);
        command.args(["-semihosting-config", "enable=on,target=native,chardev=console,arg=paced"]);
        let (interface, socket) = (self.board.interface, socket.display());
        let drive =
            format!("if={interface},format=raw,file=nbd:unix:{socket}:exportname=medium,cache=writethrough");
        command.args(["-drive", &drive]);
        command.arg("-kernel").arg(&self.image);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("qemu-system-arm: {error}"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        if let Some(mut stderr) = stderr {
            // A pipe that nobody empties would stop QEMU one day.
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        }
        if let Some(stdout) = stdout {
            std::thread::spawn(move || decode(stdout, &table, &events));
        }
        Ok(child)
    }

    /// Until the process has ended, and the server, if there is one, as well.
    fn watch(&self, child: Child, inbox: &Receiver<Event>, server: &Path) -> Result<Outcome, Failure> {
        let mut process = Process(child);
        let deadline = Instant::now() + LIMIT;
        let mut outcome = Outcome {
            messages: Vec::new(),
            last_words: String::new(),
            success: false,
            cut: false,
            writes: 0,
        };
        let (mut talking, mut serving, mut trouble) = (true, true, None);
        while talking || serving {
            match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Said(text)) => {
                    if self.verbose {
                        println!("{}: {text}", self.board.name);
                    }
                    outcome.messages.push(Message::parse(&text));
                    outcome.last_words = text;
                }
                Ok(Event::Silent) => {
                    talking = false;
                    dismiss(server);
                }
                Ok(Event::Undecodable) => {
                    trouble.get_or_insert("what the board says can't be decoded".to_owned());
                    process.kill();
                }
                Ok(Event::Cut) => {
                    outcome.cut = true;
                    process.kill();
                }
                Ok(Event::Served(Ok(writes))) => (outcome.writes, serving) = (writes, false),
                Ok(Event::Served(Err(error))) => {
                    serving = false;
                    trouble.get_or_insert(format!("the NBD server: {error}"));
                    process.kill();
                }
                Err(RecvTimeoutError::Timeout) => {
                    process.kill();
                    return Err(format!("no end within {} s; {}", LIMIT.as_secs(), outcome.story()).into());
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = process.wait()?;
        if let Some(trouble) = trouble {
            return Err(format!("{trouble}; {}", outcome.story()).into());
        }
        outcome.success = status.success();
        Ok(outcome)
    }
}

impl Outcome {
    /// An error unless the run went to its end and well, with settings if the board has any, in no more memory than it
    /// should take. Returns how many bytes it took, static and stack.
    pub fn finished(&self, board: &Board) -> Result<(u64, u64), Failure> {
        let ram = board.ram;
        if board.settings.is_some() && !self.messages.contains(&Message::SettingsDurable { step: STEPS }) {
            return Err(format!("the run did not change all settings; {}", self.story()).into());
        }
        let memory = self.messages.iter().find_map(|message| match message {
            Message::Memory { fixed, stack } => Some((*fixed, *stack)),
            _ => None,
        });
        match memory {
            Some((fixed, stack)) if self.success && self.messages.contains(&Message::Done) => {
                if fixed + stack > ram {
                    return Err(format!("{fixed} bytes of memory and {stack} of stack are over {ram}").into());
                }
                Ok((fixed, stack))
            }
            _ => Err(format!("the run did not end well; {}", self.story()).into()),
        }
    }

    /// The last thing that was heard.
    pub fn story(&self) -> String {
        format!("the board's last words: {:?}", self.last_words)
    }
}

fn decode(mut stdout: impl Read, table: &Table, events: &Sender<Event>) {
    let mut decoder = table.new_stream_decoder();
    let mut bytes = [0; 4096];
    loop {
        match stdout.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(len) => decoder.received(&bytes[..len]),
        }
        loop {
            let event = match decoder.decode() {
                Ok(frame) => Event::Said(frame.display_message().to_string()),
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => Event::Undecodable,
            };
            if events.send(event).is_err() {
                return;
            }
        }
    }
    let _ = events.send(Event::Silent);
}

/// Lets a server go that still waits for QEMU.
fn dismiss(socket: &Path) {
    // If it does not wait any more, nobody listens.
    let _ = UnixStream::connect(socket);
}

/// A process that does not outlive its owner.
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
    }

    fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.0.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.wait();
    }
}
