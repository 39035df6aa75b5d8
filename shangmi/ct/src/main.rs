//! `shangmi-ct check`, under valgrind: runs what must be constant-time with its secrets marked as undefined, so that memcheck
//! reports every branch and every address that depends on them; then planted leaks, which must be reported. Ends with
//! `N passed, N failed`. `shangmi-ct timing`: compares times of two classes of inputs, and judges nothing.
#![allow(clippy::print_stdout)]

mod cases;
mod planted;
mod timing;
mod valgrind;

use std::{collections::BTreeMap, process::ExitCode, sync::Mutex};

/// Reasons for which values were declared public: how often, and how often the value did come from a secret.
static PUBLIC: Mutex<BTreeMap<String, (u32, u32)>> = Mutex::new(BTreeMap::new());

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("check") => check(),
        Some("timing") => timing::compare(),
        _ => {
            println!("usage: shangmi-ct check|timing");
            ExitCode::from(2)
        }
    }
}

fn declassified(reason: &str, secret: bool) {
    let mut public = PUBLIC.lock().expect("no thread panicked");
    let (times, secrets) = public.entry(reason.to_owned()).or_default();
    *times += 1;
    *secrets += u32::from(secret);
}

fn check() -> ExitCode {
    if !valgrind::is_running() {
        println!("not under valgrind: nothing would be seen");
        return ExitCode::from(2);
    }
    let (mut passed, mut failed) = (0u32, 0u32);
    let planted =
        cases::planted().into_iter().map(|(name, run)| (format!("planted: {name} is seen"), run, true));
    let cases = cases::cases().into_iter().map(|(name, run)| (name, run, false));
    for (name, run, leaks) in cases.chain(planted) {
        let found = reports_of(run);
        let ok = (found > 0) == leaks;
        println!("{} {name}: {found} reports", if ok { "ok     " } else { "FAILED " });
        if ok { passed += 1 } else { failed += 1 }
    }
    println!("\ndeclared public on the way, always of secrets until then:");
    let public = PUBLIC.lock().expect("no thread panicked");
    for (reason, (times, secrets)) in public.iter() {
        // One that never was a secret's shows that the marks were lost before it: then nothing was checked.
        let ok = times == secrets;
        println!("{} {times:>5} times: {reason}", if ok { "ok     " } else { "FAILED " });
        if ok { passed += 1 } else { failed += 1 }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn reports_of(run: Box<dyn FnOnce()>) -> usize {
    let before = valgrind::errors();
    run();
    valgrind::errors() - before
}
