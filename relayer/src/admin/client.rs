//! Asks a running relayer.

use std::io;
use std::path::Path;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::request::Request;
use super::socket::read_line;
use crate::error::AskError;

/// Sends `request` to the relayer that serves the socket at `path`, and returns what it answers.
pub async fn ask(path: &Path, request: &Request) -> Result<Value, AskError> {
    let unreachable = |source| AskError::Unreachable { path: path.to_owned(), source };
    let mut stream = UnixStream::connect(path).await.map_err(unreachable)?;
    let line = format!("{}\n", request.to_line());
    stream.write_all(line.as_bytes()).await.map_err(unreachable)?;
    // No time limit of its own: the relayer has one for every request, and answers or closes.
    let line = read_line(&mut stream, RESPONSE_BYTES_MAX).await.map_err(unreachable)?;
    let mut answer: Value = serde_json::from_slice(&line).map_err(|error| unreachable(error.into()))?;
    if let Some(ok) = answer.get_mut("ok") {
        return Ok(ok.take());
    }
    let text = |field: &str| answer["error"][field].as_str().map(str::to_owned);
    match (text("code"), text("message")) {
        (Some(code), Some(message)) => Err(AskError::Refused { code, message }),
        _ => Err(unreachable(io::Error::new(io::ErrorKind::InvalidData, "an answer of another version"))),
    }
}

/// Longest answer, bytes.
pub(super) const RESPONSE_BYTES_MAX: u64 = 4 << 20;
