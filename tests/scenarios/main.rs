//! Scenarios across the parts, on a real Conflux node. One file each.
#![allow(missing_docs, reason = "each scenario's file says what it shows")]

mod auth_resp_reaches_chain;
mod blockhash_matches_the_rpc;
mod challenge_over_http2_is_answered_on_a_raw_session;
mod empty_signer;
mod endpoint_answers_500;
mod endpoint_answers_garbage;
mod endpoint_catches_up;
mod endpoint_hangs;
mod endpoint_lags;
mod endpoints_all_down;
mod endpoints_disagree;
mod journal_damaged;
mod journal_disk_full;
mod later_epoch_does_not_block_an_earlier_one;
mod nonce_consumed_by_a_foreign_transaction;
mod open_ticket_is_asked_anew_when_the_epoch_advances;
mod operator_bumps_and_cancels;
mod policy_is_in_force_at_its_epoch;
mod python_client_speaks_the_protocol;
mod record_older_than_the_ring_is_refused;
mod refusals_off_chain;
mod refusals_on_chain;
mod relayer_killed_between_grant_and_submit;
mod relayer_killed_between_submit_and_confirm;
mod relayer_stops_in_good_order;
mod replacement_under_a_risen_base_fee;
mod session_over_http2;
mod several_signers;
mod stranger_records_a_pile_early;
mod telemetry_reaches_the_ledger;
mod transaction_evicted_silently;
