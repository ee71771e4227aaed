//! One PostgreSQL server as a child process.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process;
use crate::{Refusal, Sql, Tree, until};

/// A line of postgresql.conf: name and value, unquoted.
pub type Setting<'a> = (&'a str, &'a str);

/// Words in a server's log that no test causes on purpose.
const CRASHES: [&str; 4] = ["terminated by signal", "PANIC:", "was terminated", "panicked at"];

/// A server, running or not. Its folder goes when it is dropped, unless the test failed.
pub struct Server {
    /// For messages.
    pub name: String,
    folder: PathBuf,
    postmaster: Option<Child>,
}

impl Server {
    /// A fresh data directory with these settings on top of what tests need; not started.
    pub fn create(tree: &Tree, name: &str, settings: &[Setting<'_>]) -> Server {
        let server = Server::empty(tree, name);
        tree.copy_template(&server.data());
        server.configure(&[
            ("listen_addresses", ""),
            ("shared_buffers", "16MB"),
            // PostgreSQL's own files are not what is tested; the node's always fsync.
            ("fsync", "off"),
            ("max_connections", "30"),
            ("autovacuum", "off"),
            ("log_line_prefix", "%m [%p] "),
        ]);
        server.place_socket();
        server.configure(settings);
        server
    }

    /// A server whose data directory is a copy of another's, as a base backup makes it.
    pub fn copy_of(tree: &Tree, original: &Server, name: &str) -> Server {
        let server = Server::empty(tree, name);
        tree.copy(&original.data(), &server.data());
        let _stale = std::fs::remove_file(server.data().join("postmaster.pid"));
        server.place_socket();
        server
    }

    fn empty(tree: &Tree, name: &str) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("pgraft-test-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        tree.folder(&folder);
        Server { name: name.to_owned(), folder, postmaster: None }
    }

    fn place_socket(&self) {
        let folder = self.folder.display().to_string();
        self.configure(&[("unix_socket_directories", &folder)]);
    }

    /// Appends to postgresql.conf; the last of equal names counts.
    pub fn configure(&self, settings: &[Setting<'_>]) {
        let mut text = String::new();
        for (name, value) in settings {
            let value = value.replace('\'', "''");
            writeln!(text, "{name} = '{value}'").expect("writing to a String cannot fail");
        }
        let path = self.data().join("postgresql.conf");
        let mut file = OpenOptions::new().append(true).open(&path).expect("initdb made it");
        file.write_all(text.as_bytes()).expect("the disk is not full");
    }

    /// The server's data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts it, without waiting for anything.
    pub fn start(&mut self, tree: &Tree) {
        assert!(self.postmaster.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.expect("the folder is ours");
        let mut command = tree.command("postgres");
        command.arg("-D").arg(self.data()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("descriptors are not short")).stderr(log);
        self.postmaster = Some(command.spawn().expect("postgres starts"));
    }

    /// A session in the database `postgres`, as soon as the server accepts one.
    pub fn connect(&self) -> Sql {
        until(
            &format!("{} accepts connections, see {}", self.name, self.log_path().display()),
            || self.try_connect("postgres").ok(),
        )
    }

    /// A session if the server accepts one now.
    ///
    /// # Errors
    /// Why not.
    pub fn try_connect(&self, database: &str) -> Result<Sql, Refusal> {
        Sql::connect(&self.folder, database)
    }

    /// Where [`Sql`] connects to.
    pub(crate) fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it was started and not stopped or killed since.
    pub fn runs(&self) -> bool {
        self.postmaster.is_some()
    }

    fn pid(&self) -> u32 {
        self.postmaster.as_ref().expect("the server runs").id()
    }

    /// Stops it in an orderly way, disconnecting sessions, and waits for the end.
    pub fn stop(&mut self) {
        let status = self.end_with(libc::SIGINT);
        assert!(status.success(), "{} stopped with {status}", self.name);
    }

    /// Kills all its processes at once, as the kernel does when memory is out or a power cut does.
    pub fn kill(&mut self) {
        let mut all = process::hold(self.pid());
        for pid in &all {
            process::signal(*pid, libc::SIGKILL);
        }
        self.end_with(libc::SIGKILL);
        process::wait_gone(&std::mem::take(&mut all));
    }

    /// Kills the postmaster only; its children must notice and end by themselves.
    pub fn kill_postmaster(&mut self) {
        let children = process::children(self.pid());
        self.end_with(libc::SIGKILL);
        process::wait_gone(&children);
    }

    /// Sends the postmaster a signal and reaps it, so that its pid is free for the next start.
    fn end_with(&mut self, signal: i32) -> ExitStatus {
        process::signal(self.pid(), signal);
        let mut postmaster = self.postmaster.take().expect("the server runs");
        postmaster.wait().expect("it is our child")
    }

    /// Holds all its processes where they are.
    pub fn suspend(&self) {
        for pid in process::hold(self.pid()) {
            process::signal(pid, libc::SIGSTOP);
        }
    }

    /// Lets them go on.
    pub fn resume(&self) {
        for pid in process::children(self.pid()) {
            process::signal(pid, libc::SIGCONT);
        }
        process::signal(self.pid(), libc::SIGCONT);
    }

    /// The process of the background worker, if there is one now.
    pub fn worker(&self) -> Option<u32> {
        let mut children = process::children(self.pid()).into_iter();
        children.find(|pid| process::title(*pid).contains("pgraft worker"))
    }

    /// Sends the background worker a signal.
    ///
    /// # Panics
    /// When there is none.
    pub fn signal_worker(&self, signal: i32) {
        process::signal(self.worker().expect("the worker runs"), signal);
    }

    /// Sends one of its processes a signal.
    ///
    /// # Panics
    /// When the process is none of this server.
    pub fn signal_child(&self, child: u32, signal: i32) {
        assert!(process::children(self.pid()).contains(&child), "{child} is not {}'s", self.name);
        process::signal(child, signal);
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has logged `words`.
    pub fn wait_logged(&self, words: &str) {
        let what = format!("{} logs \"{words}\", see {}", self.name, self.log_path().display());
        until(&what, || self.log().contains(words).then_some(()));
    }

    /// # Panics
    /// When a process of it crashed, or anything in it panicked.
    pub fn assert_never_crashed(&self) {
        let log = self.log();
        let crash = log.lines().find(|line| CRASHES.iter().any(|crash| line.contains(crash)));
        assert_eq!(crash, None, "{} crashed, see {}", self.name, self.log_path().display());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            // It may be held. SIGQUIT does not wait for anything.
            for pid in process::children(postmaster.id()) {
                process::signal(pid, libc::SIGCONT);
            }
            process::signal(postmaster.id(), libc::SIGCONT);
            process::signal(postmaster.id(), libc::SIGQUIT);
            let _status = postmaster.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}: kept {}", self.name, self.folder.display());
        } else {
            let _left_over = std::fs::remove_dir_all(&self.folder);
        }
    }
}
