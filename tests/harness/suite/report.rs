//! What the suite tells whoever runs it: one JSON object per line, in the order in which things happen, each written at
//! once, so that a machine that dies leaves all that went before. Nobody asks for it on a developer's machine.

use std::{
    env,
    fs::File,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    sync::{Mutex, OnceLock},
};

use serde_json::Value;

static REPORT: OnceLock<Mutex<File>> = OnceLock::new();
static TIMES: Mutex<Vec<(f64, &str)>> = Mutex::new(Vec::new());

/// How many of the slowest tests are named at the end.
const SLOWEST: usize = 10;

/// Opens what `KCHAOS_REPORT` names, if anything.
pub fn open() -> Result<(), String> {
    let Some(path) = env::var_os("KCHAOS_REPORT") else { return Ok(()) };
    // It may be a serial port, which must not become our terminal.
    let file = File::options()
        .create(true)
        .append(true)
        .custom_flags(libc::O_NOCTTY)
        .open(&path)
        .map_err(|e| format!("KCHAOS_REPORT: {}: {e}", path.display()))?;
    REPORT.get_or_init(|| Mutex::new(file));
    Ok(())
}

/// Writes one line.
pub fn emit(event: &Value) {
    if let Some(file) = REPORT.get() {
        // Without a report the tests are not worth much: their result would be lost.
        file.lock().unwrap().write_all(format!("{event}\n").as_bytes()).expect("the report can be written");
    }
}

/// Notes how long a test took.
pub fn took(name: &'static str, seconds: f64) {
    TIMES.lock().unwrap().push((seconds, name));
}

/// Names the slowest tests, after a run of all of them.
pub fn slowest() {
    let mut times = TIMES.lock().unwrap();
    if times.len() > SLOWEST {
        times.sort_by(|a, b| b.0.total_cmp(&a.0));
        println!("the slowest:");
        for (seconds, name) in times.iter().take(SLOWEST) {
            println!("{seconds:>8.2} s  {name}");
        }
    }
}
