//! The built-in defaults; `deploy/relayer.toml` repeats them.

use super::*;

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:4622".into(),
            certificate: "pki/gateway.pem".into(),
            certificate_key: "pki/gateway.key".into(),
            root: "pki/root.pem".into(),
            gateway_key_file: "secrets/gateway.key".into(),
            site_secret_file: "secrets/site.key".into(),
            heartbeat_interval_ms: 30_000,
            max_payload: 16_384,
            answer_window_blocks: 300,
            deadline_margin_blocks: 240,
            open_charges_per_device_max: 2,
            sealed_bodies: SealedBodies::Offered,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_address_max: 2_048,
            connections_per_device_max: 4,
            handshakes_max: 256,
            handshakes_per_address_max: 64,
            accepts_per_second_max: 200,
            handshake_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            frame_timeout_ms: 30_000,
            ping_interval_ms: 30_000,
            ping_timeout_ms: 20_000,
            bytes_per_second_max: 262_144,
            frames_per_second_max: 200,
            frame_burst_max: 400,
            send_queue_frames_max: 256,
            send_queue_bytes_max: 65_536,
        }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { path: "journal.redb".into(), retention_blocks: 86_400 }
    }
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            endpoints: vec![Endpoint::new("http://127.0.0.1:8545")],
            quorum: Quorum::Rule(QuorumRule::Majority),
            endpoint_lag_blocks_max: 30,
            endpoint_stale_ms: 60_000,
            deployment_file: "deployment.json".into(),
            signer_key_files: vec!["secrets/signer.key".into()],
            poll_interval_ms: 500,
            max_fee_gwei: 200,
            priority_fee_gwei: 1,
            rebroadcast_blocks: 20,
            replace_blocks: 100,
        }
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            close_grace_ms: 500,
            records_max: 256,
            advance_max: 24,
            lane: LaneRule::Auto,
            root_deadline_ms: 3_000,
        }
    }
}

impl Default for RevokeConfig {
    fn default() -> Self {
        Self { deadline_blocks: 3_600, grace_wh: 200 }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { socket: "relayer.sock".into(), http_listen: "127.0.0.1:9622".into() }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}
