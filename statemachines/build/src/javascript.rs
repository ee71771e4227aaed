//! Machines in JavaScript: QuickJS and the machine's text in one module, through zig. The engine
//! starts anew in each instance; its clock is the log's and its chance comes from the entry.

use std::path::Path;

use crate::component::described;
use crate::glue::{WORLD, generate, update};
use crate::zig::{files_ending, lay_out};
use crate::{Error, read, tools};

/// Stack of the module inside its memory: the engine's functions are larger than a machine's.
const STACK_BYTES: usize = 256 << 10;
/// Files of QuickJS that a machine is built with.
const QUICKJS_FILES: [&str; 4] = ["quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"];
/// Modules that every machine can import, besides the files of its own folder.
const SOURCES: [(&str, &str); 2] = [
    ("bootstrap.js", include_str!("../js/bootstrap.js")),
    ("pgraft", include_str!("../js/pgraft.js")),
];

/// A machine in JavaScript: machine.js, an ES module, and the `.js` files beside it.
pub(crate) fn build(project: &Path, out: &Path) -> Result<Vec<u8>, Error> {
    let glue = out.join("js");
    generate(&glue)?;
    lay_out(&glue, &[("glue.c", include_str!("../js/quickjs.c"))])?;
    let mut sources: Vec<(String, String)> =
        SOURCES.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    for file in files_ending(project, "js")? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        sources.push((name, String::from_utf8_lossy(&read(&file)?).into_owned()));
    }
    update(&glue.join("sources.c"), table(&sources).as_bytes())?;
    let (quickjs, mut zig) = (tools::quickjs()?, tools::zig()?);
    let core = out.join("core.wasm");
    // Relative paths, so that zig finds the engine in its cache whatever machine is built.
    zig.current_dir(&glue)
        .args(["cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-O2", "-s", "-w"])
        .args(["-DNDEBUG", "-D_GNU_SOURCE", "-DQUICKJS_NG_BUILD", "-fno-sanitize=undefined"])
        .arg(format!("-Wl,-z,stack-size={STACK_BYTES}"))
        .arg(format!("-ffile-prefix-map={}=/quickjs", quickjs.display()))
        .args(["-I.", "-I"])
        .arg(&quickjs)
        .args(["machine.c", "glue.c", "sources.c"])
        .args(QUICKJS_FILES.map(|file| quickjs.join(file)))
        .arg("-o")
        .arg(&core);
    tools::run("zig cc", zig)?;
    described(read(&core)?, WORLD)
}

/// The texts as C: QuickJS wants a 0 behind each.
fn table(sources: &[(String, String)]) -> String {
    let mut c = "#include <stddef.h>\n\
                 struct source { const char *name, *text; size_t length; };\n\
                 const struct source pgraft_sources[] = {\n"
        .to_owned();
    for (name, text) in sources {
        let length = text.len();
        c += &format!("  {{{}, {}, {length}}},\n", literal(name), literal(text));
    }
    c += &format!("}};\nconst size_t pgraft_sources_count = {};\n", sources.len());
    c
}

fn literal(text: &str) -> String {
    // Octal escapes of three digits cannot run into what follows.
    let escaped = text.bytes().map(|byte| match byte {
        b'\n' => "\\n\"\n    \"".to_owned(),
        b'"' | b'\\' | b'?' | 0..=31 | 127.. => format!("\\{byte:03o}"),
        plain => char::from(plain).to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
