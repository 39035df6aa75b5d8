//! `relayer tx list | bump | cancel`.

use std::error::Error;

use clap::Subcommand;
use serde_json::Value;

use crate::admin::request::Request;
use crate::pipeline::submit::{TxDone, TxLine};

#[derive(Debug, Subcommand)]
pub(super) enum TxCommand {
    /// Every batch without an end: signer, nonce, attempts, fees, age, state and what happens next.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Replace a batch's transaction by a better paid one now. Only that of a signer's lowest nonce, and within chain.max_fee_gwei.
    Bump {
        /// Batch, as `tx list` shows it.
        batch: u64,
    },
    /// Use up a batch's nonce by a transfer of nothing instead. Its statements are planned again once that is safe.
    Cancel {
        /// Batch, as `tx list` shows it.
        batch: u64,
    },
}

/// Asks the running relayer; returns what to print.
pub(super) fn run(
    command: &TxCommand,
    ask: impl FnOnce(&Request) -> Result<Value, Box<dyn Error>>,
) -> Result<String, Box<dyn Error>> {
    match command {
        TxCommand::List { json } => {
            let mut answer = ask(&Request::TxList)?;
            let lines = answer.get_mut("transactions").map(Value::take).unwrap_or_default();
            if *json {
                return Ok(format!("{lines}\n"));
            }
            Ok(table(&serde_json::from_value::<Vec<TxLine>>(lines)?))
        }
        TxCommand::Bump { batch } => {
            let done: TxDone = serde_json::from_value(ask(&Request::TxBump { batch: *batch })?)?;
            Ok(told("replaced", &done))
        }
        TxCommand::Cancel { batch } => {
            let done: TxDone = serde_json::from_value(ask(&Request::TxCancel { batch: *batch })?)?;
            Ok(told("cancelled", &done))
        }
    }
}

fn told(what: &str, done: &TxDone) -> String {
    match (done.nonce, done.attempt, done.max_fee_drip) {
        (Some(nonce), Some(attempt), Some(max_fee_drip)) => format!(
            "batch {} {what}: nonce {nonce}, attempt {attempt}, at most {} gwei\n",
            done.batch,
            gwei(max_fee_drip)
        ),
        _ => format!("batch {} {what}: it had no transaction\n", done.batch),
    }
}

fn table(lines: &[TxLine]) -> String {
    let mut rows = vec![
        ["batch", "kind", "signer", "nonce", "attempts", "gwei", "age", "state", "next"].map(str::to_owned),
    ];
    rows.extend(lines.iter().map(|line| {
        [
            line.batch.to_string(),
            line.kind.clone(),
            line.signer.clone().unwrap_or_else(none),
            line.nonce.map_or_else(none, |nonce| nonce.to_string()),
            line.attempts.to_string(),
            line.max_fee_drip.map_or_else(none, gwei),
            line.age_blocks.to_string(),
            line.state.clone(),
            line.next.clone(),
        ]
    }));
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..9).map(width).collect();
    let padded = |row: &[String; 9]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(padded).collect()
}

fn none() -> String {
    "-".to_owned()
}

/// Drip per gas as gwei, with what is behind the point only where there is something.
fn gwei(drip: u128) -> String {
    let text = format!("{}.{:09}", drip / 1_000_000_000, drip % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_has_a_line_for_each_batch_with_all_that_an_operator_asks() {
        let answer = json!({ "transactions": [{
            "batch": 7, "kind": "record", "epoch": 3, "expires_block": 900, "signer": "0xab", "nonce": 4, "attempts": 2,
            "gas_limit": 60_000, "max_fee_drip": 45_100_000_000_u64, "tip_drip": 1_000_000_000, "transaction": "0xcd",
            "age_blocks": 12, "state": "in_flight", "next": "sent again at block 130",
        }] });
        let text = run(&TxCommand::List { json: false }, |_| Ok(answer)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "batch  kind    signer  nonce  attempts  gwei  age  state      next");
        assert_eq!(
            lines[1],
            "7      record  0xab    4      2         45.1  12   in_flight  sent again at block 130"
        );
    }

    #[test]
    fn an_edit_tells_what_was_signed_for_it() {
        let done = json!({ "batch": 7, "nonce": 4, "attempt": 2, "max_fee_drip": 45_000_000_000_u64 });
        let text = run(&TxCommand::Bump { batch: 7 }, |request| {
            assert_eq!(*request, Request::TxBump { batch: 7 });
            Ok(done)
        });
        assert_eq!(text.unwrap(), "batch 7 replaced: nonce 4, attempt 2, at most 45 gwei\n");
        let unsent = json!({ "batch": 7, "nonce": null, "attempt": null, "max_fee_drip": null });
        let text = run(&TxCommand::Cancel { batch: 7 }, |_| Ok(unsent)).unwrap();
        assert_eq!(text, "batch 7 cancelled: it had no transaction\n");
    }
}
