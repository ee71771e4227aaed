//! An installed PostgreSQL of some major, with the extension.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::account::Account;

/// The major that everything is tested with; the others are only smoke-tested.
pub const MAJOR_DEFAULT: u32 = 17;

/// A private PostgreSQL with the extension installed, and the right to run servers of it.
pub struct Tree {
    /// 14 to 18.
    pub major: u32,
    bin: PathBuf,
    template: PathBuf,
    account: Account,
    // Tests of one program run one after another: three servers are enough for two cores.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Tree {
    /// The major named by `PGRAFT_TEST_MAJOR`, else [`MAJOR_DEFAULT`].
    pub fn default_major() -> Tree {
        let major = std::env::var("PGRAFT_TEST_MAJOR").ok();
        Tree::of(major.map_or(MAJOR_DEFAULT, |text| text.parse().expect("PGRAFT_TEST_MAJOR=17")))
    }

    /// A major that scripts/setup has fetched and scripts/install has built for.
    ///
    /// # Panics
    /// When it has not.
    pub fn of(major: u32) -> Tree {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let pg_config = pg_config(major);
        install(&pg_config);
        let bin = pg_config.parent().expect("pg_config lies in a folder").to_owned();
        let home =
            bin.ancestors().nth(2).expect("bin lies in the tree, that in its home").to_owned();
        let template = home.join(format!("template-{major}"));
        let tree = Tree { major, bin, template, account: Account::for_servers(), _turn: turn };
        tree.make_template(&home);
        tree
    }

    /// A program of this PostgreSQL, which will run as the servers' account and die with this
    /// thread.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        // A developer's backtraces must not change what servers say.
        command.env_remove("RUST_BACKTRACE").current_dir("/");
        self.account.apply(&mut command);
        command
    }

    /// An empty folder of the servers' account.
    pub fn folder(&self, path: &Path) {
        std::fs::create_dir(path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
        self.account.own(path);
    }

    /// A fresh data directory.
    pub(crate) fn copy_template(&self, to: &Path) {
        self.copy(&self.template, to);
    }

    /// Copies a folder with everything in it, as the servers' account.
    pub fn copy(&self, from: &Path, to: &Path) {
        let mut command = Command::new("cp");
        command.args(["--archive", "--reflink=auto"]).arg(from).arg(to).current_dir("/");
        self.account.apply(&mut command);
        let status = command.status().expect("cp exists");
        assert!(status.success(), "cp {} {}", from.display(), to.display());
    }

    /// One initdb per machine; servers begin with a copy. Appears by rename, because tests of
    /// several programs may make it at once.
    fn make_template(&self, home: &Path) {
        if self.template.exists() {
            return;
        }
        let fresh = home.join(format!(".template-{}-{}", self.major, std::process::id()));
        self.folder(&fresh);
        let mut initdb = self.command("initdb");
        initdb.args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8"]);
        initdb.args(["--locale=C", "--wal-segsize=1", "--pgdata"]).arg(fresh.join("data"));
        let output = initdb.output().expect("initdb starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let _made_by_another = std::fs::rename(fresh.join("data"), &self.template);
        let _left_over = std::fs::remove_dir_all(&fresh);
        assert!(self.template.exists(), "no {}", self.template.display());
    }
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("this crate lies two folders below the root")
}

/// As scripts/setup wrote it down.
fn pg_config(major: u32) -> PathBuf {
    let path = root().join("target/pgrx/config.toml");
    let text = std::fs::read_to_string(&path).expect("run scripts/setup first");
    let key = format!("pg{major} = ");
    let line = text.lines().find_map(|line| line.strip_prefix(&key));
    PathBuf::from(line.expect("scripts/setup writes all majors").trim_matches('"'))
}

/// What scripts/install built last; running servers keep what they have mapped.
fn install(pg_config: &Path) {
    let mut script = Command::new(root().join("scripts/install"));
    let output = script.arg("--no-build").arg("--pg-config").arg(pg_config).output();
    let output = output.expect("scripts/install starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
