//! A local socket: one JSON request line in, one JSON response line out. `{"request":"status"}` → `{"status":{…}}`.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::clock::SharedClock;

/// Knows how the relayer is doing.
#[async_trait]
pub trait StatusSource: Debug + Send + Sync {
    /// A JSON object.
    async fn status(&self) -> Value;
}

/// The bound socket. Dropping it removes the file.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Binds `path`, readable and writable by the owner alone. The socket of a process that is gone is replaced; that of a
    /// living one, and anything that is no socket, is an error.
    pub fn bind(path: &Path) -> io::Result<Self> {
        refuse_if_in_use(path)?;
        // Bound under another name and moved into place with its permissions set, so that it is never open to others.
        let mut scratch = path.as_os_str().to_owned();
        scratch.push(".new");
        let scratch = PathBuf::from(scratch);
        refuse_if_in_use(&scratch)?;
        match fs::remove_file(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&scratch)?;
        fs::set_permissions(&scratch, fs::Permissions::from_mode(0o600))?;
        fs::rename(&scratch, path)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers until `stop` is cancelled.
    pub async fn serve(self, source: Arc<dyn StatusSource>, clock: SharedClock, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => {
                        let (source, clock) = (source.clone(), clock.clone());
                        connections.spawn(async move {
                            tokio::select! {
                                answered = answer(stream, source.as_ref()) => if let Err(error) = answered {
                                    debug!(%error, "admin connection failed");
                                },
                                () = clock.sleep(REQUEST_TIMEOUT) => debug!("admin request timed out"),
                            }
                        });
                    }
                    Err(error) => {
                        warn!(%error, "accept failed on the admin socket");
                        clock.sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Nothing depends on it: a stale socket is replaced at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Asks a running relayer for its status.
pub async fn status(path: &Path) -> io::Result<Value> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(b"{\"request\":\"status\"}\n").await?;
    let line = read_line(&mut stream, RESPONSE_BYTES_MAX).await?;
    let mut response: Value = serde_json::from_slice(&line)?;
    if let Some(error) = response.get("error") {
        return Err(io::Error::other(format!("the relayer answers {error}")));
    }
    match response.get_mut("status") {
        Some(status) => Ok(status.take()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer holds no status")),
    }
}

async fn answer(mut stream: UnixStream, source: &dyn StatusSource) -> io::Result<()> {
    let line = read_line(&mut stream, REQUEST_BYTES_MAX).await?;
    let request: Result<Value, _> = serde_json::from_slice(&line);
    let response = match request.as_ref().map(|request| request.get("request").and_then(Value::as_str)) {
        Ok(Some("status")) => json!({ "status": source.status().await }),
        Ok(Some(other)) => json!({ "error": format!("unknown request {other:?}; known: status") }),
        Ok(None) => json!({ "error": "the field \"request\" is missing" }),
        Err(error) => json!({ "error": format!("not JSON: {error}") }),
    };
    stream.write_all(format!("{response}\n").as_bytes()).await?;
    stream.shutdown().await
}

async fn read_line(stream: &mut UnixStream, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream.take(bytes_max)).read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        let message = format!("no line within {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(line)
}

fn refuse_if_in_use(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let message = format!("{} exists and is no socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => {
            let message = format!("another relayer answers on {}", path.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

const CONNECTIONS_MAX: usize = 8;
const REQUEST_BYTES_MAX: u64 = 4_096;
const RESPONSE_BYTES_MAX: u64 = 1 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn status_is_answered_over_a_private_socket_that_goes_with_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.sock");
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(&path, &stop));
        assert_eq!(status(&path).await.unwrap(), json!({ "sessions": 3 }));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        stop.cancel();
        server.await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn other_requests_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.sock");
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(&path, &stop));
        for (request, expected) in
            [("{\"request\":\"reboot\"}\n", "reboot"), ("{}\n", "is missing"), ("status\n", "not JSON")]
        {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let line = read_line(&mut stream, 4096).await.unwrap();
            assert!(String::from_utf8(line).unwrap().contains(expected));
        }
        stop.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_in_use_is_left_alone_and_a_stale_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.sock");
        let living = AdminSocket::bind(&path).unwrap();
        assert_eq!(AdminSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(living);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        AdminSocket::bind(&path).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.sock");
        fs::create_dir(&path).unwrap();
        assert_eq!(AdminSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(path.exists());
    }

    /// Binds at once, so that a client may connect as soon as this returned.
    fn serve(path: &Path, stop: &CancellationToken) -> impl Future<Output = ()> + use<> {
        AdminSocket::bind(path).unwrap().serve(Arc::new(Three), Arc::new(SystemClock::new()), stop.clone())
    }

    #[derive(Debug)]
    struct Three;

    #[async_trait]
    impl StatusSource for Three {
        async fn status(&self) -> Value {
            json!({ "sessions": 3 })
        }
    }
}
