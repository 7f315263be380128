//! The test's side of the file system in another process, and what the two say to each other:
//! lines over a socket. Every command is answered, so that it has taken effect when its call
//! returns.

use crate::server::{Rule, serve};
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Names the folder, in the environment of the process that serves it.
const FOLDER: &str = "RINGBOLT_GATES_FOLDER";

/// What the server is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    Rule(u32, Rule),
    Release,
    Report,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Done,
    /// It cannot mount a file system, and why.
    Refused(String),
    /// A request met the rule to hold.
    Held,
    /// Whether the last rule met a request; how many bytes were written, and whether they are what
    /// they should be.
    Report {
        asked: bool,
        written: usize,
        whole: bool,
    },
}

impl Command {
    fn to_line(self) -> String {
        match self {
            Command::Rule(kind, Rule::Hold) => format!("hold {kind}\n"),
            Command::Rule(kind, Rule::Fail(errno)) => format!("fail {kind} {errno}\n"),
            Command::Rule(kind, Rule::Short(len)) => format!("short {kind} {len}\n"),
            Command::Release => "release\n".into(),
            Command::Report => "report\n".into(),
        }
    }

    pub(crate) fn read(line: &str) -> Command {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<i32>().expect("a number");
        let rule = |rule| Command::Rule(number(1) as u32, rule);
        match words[0] {
            "hold" => rule(Rule::Hold),
            "fail" => rule(Rule::Fail(number(2))),
            "short" => rule(Rule::Short(number(2) as usize)),
            "release" => Command::Release,
            "report" => Command::Report,
            other => panic!("`{other}` is no command"),
        }
    }
}

impl Notice {
    pub(crate) fn to_line(&self) -> String {
        match self {
            Notice::Done => "done\n".into(),
            Notice::Refused(why) => format!("refused {}\n", why.replace('\n', " ")),
            Notice::Held => "held\n".into(),
            Notice::Report { asked, written, whole } => {
                format!("report {asked} {written} {whole}\n")
            }
        }
    }

    fn read(line: &str) -> Notice {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "done" => Notice::Done,
            "refused" => Notice::Refused(words[1..].join(" ")),
            "held" => Notice::Held,
            "report" => Notice::Report {
                asked: words[1] == "true",
                written: words[2].parse().expect("a number"),
                whole: words[3] == "true",
            },
            other => panic!("`{other}` is no notice"),
        }
    }
}

/// If this process was started to serve, does so, and tells.
pub(crate) fn is_server() -> bool {
    let Ok(folder) = std::env::var(FOLDER) else { return false };
    use std::os::fd::AsFd;
    let parent = std::io::stdin().as_fd().try_clone_to_owned().expect("a free descriptor");
    serve(&folder, UnixStream::from(parent));
    true
}

/// The mounted file system.
pub(crate) struct Server {
    commands: UnixStream,
    answers: Receiver<Notice>,
    held: Arc<Mutex<Held>>,
    child: Child,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct Held {
    is: bool,
    waker: Option<Waker>,
}

impl Server {
    /// Mounts the file system on a folder for temporary files. `test` is the name of the test of
    /// this program that begins with [`is_server`].
    ///
    /// # Errors
    ///
    /// Why this process may not do so.
    pub(crate) fn mount(test: &str) -> Result<Server, String> {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let (ours, theirs) = UnixStream::pair().expect("two free descriptors");
        let program = std::env::current_exe().expect("the program knows its path");
        let child = std::process::Command::new(program)
            .args(["--exact", test, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts again");
        let held = Arc::new(Mutex::new(Held::default()));
        let (send, answers) = channel();
        let (lines, shared) = (ours.try_clone().expect("a free descriptor"), held.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                match Notice::read(&line) {
                    Notice::Held => {
                        let mut held = shared.lock().expect("nobody panics under this lock");
                        held.is = true;
                        let waker = held.waker.take();
                        drop(held);
                        if let Some(waker) = waker {
                            waker.wake();
                        }
                    }
                    notice => drop(send.send(notice)),
                }
            }
        });
        let server = Server { commands: ours, answers, held, child, folder };
        match server.answer() {
            Notice::Refused(why) => Err(why),
            _ => Ok(server),
        }
    }

    fn answer(&self) -> Notice {
        self.answers.recv().expect("the server lives")
    }

    fn tell(&self, command: Command) -> Notice {
        (&self.commands).write_all(command.to_line().as_bytes()).expect("the server lives");
        self.answer()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What happens to the next request of this kind.
    pub(crate) fn rule(&self, kind: u32, rule: Rule) {
        self.held.lock().expect("nobody panics under this lock").is = false;
        assert_eq!(self.tell(Command::Rule(kind, rule)), Notice::Done);
    }

    /// Ready once a request met the rule to hold.
    pub(crate) fn holds(&self) -> impl Future<Output = ()> + Unpin {
        std::future::poll_fn(|cx| {
            let mut held = self.held.lock().expect("nobody panics under this lock");
            if held.is {
                return Poll::Ready(());
            }
            held.waker = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    /// Answers the request that is held.
    pub(crate) fn release(&self) {
        assert_eq!(self.tell(Command::Release), Notice::Done);
    }

    /// Whether the last rule met a request; how many bytes were written since the last call, and
    /// whether they are what they should be.
    pub(crate) fn report(&self) -> (bool, usize, bool) {
        match self.tell(Command::Report) {
            Notice::Report { asked, written, whole } => (asked, written, whole),
            other => panic!("{other:?} is no report"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of the connection ends the server.
        let _ = self.commands.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}
