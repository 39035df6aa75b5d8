//! The local socket: a connection carries one request line and its answer (see [`super::request`]). Sizes and times are bounded.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::client::RESPONSE_BYTES_MAX;
use super::operator::Commands;
use super::request::{Request, answer_line};
use crate::clock::SharedClock;
use crate::error::AdminError;

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
    pub async fn serve(self, commands: Arc<dyn Commands>, clock: SharedClock, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => {
                        let (commands, clock) = (commands.clone(), clock.clone());
                        connections.spawn(async move {
                            if let Err(error) = converse(stream, &*commands, &clock).await {
                                debug!(%error, "admin connection failed");
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

/// Reads one request and answers it.
async fn converse(mut stream: UnixStream, commands: &dyn Commands, clock: &SharedClock) -> io::Result<()> {
    let line = within(clock, LINE_TIMEOUT, read_line(&mut stream, REQUEST_BYTES_MAX)).await?;
    let answer = match Request::parse(&line) {
        Ok(request) => {
            let limit = request.time_limit();
            tokio::select! {
                answer = commands.execute(request) => answer,
                () = clock.sleep(limit) => Err(AdminError::TimedOut { seconds: limit.as_secs() }),
            }
        }
        Err(error) => Err(error),
    };
    let mut line = answer_line(&answer);
    if line.len() as u64 >= RESPONSE_BYTES_MAX {
        line = answer_line(&Err(AdminError::TooLong { bytes: line.len() }));
    }
    line.push('\n');
    within(clock, LINE_TIMEOUT, async {
        stream.write_all(line.as_bytes()).await?;
        stream.shutdown().await
    })
    .await
}

async fn within<T>(
    clock: &SharedClock,
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::select! {
        done = work => done,
        () = clock.sleep(limit) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// One line of at most `bytes_max`, without its end.
pub(super) async fn read_line(stream: &mut UnixStream, bytes_max: u64) -> io::Result<Vec<u8>> {
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
/// For a line to arrive, and for one to be taken.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use serde_json::{Value, json};

    use super::*;
    use crate::admin::client::ask;
    use crate::clock::SystemClock;
    use crate::error::AskError;

    #[tokio::test]
    async fn status_is_answered_over_a_private_socket_that_goes_with_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.sock");
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(&path, &stop));
        assert_eq!(ask(&path, &Request::Status).await.unwrap(), json!({ "sessions": 3 }));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        stop.cancel();
        server.await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_request_that_is_none_is_answered_by_a_code_and_nothing_is_carried_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.sock");
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(&path, &stop));
        for (request, code) in
            [("{\"v\":1,\"command\":\"reboot\"}\n", "unknown_command"), ("x\n", "malformed")]
        {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let line = read_line(&mut stream, 4096).await.unwrap();
            let answer: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(answer["error"]["code"], code);
        }
        stop.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_off_at_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.sock");
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(&path, &stop));
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(&vec![b' '; REQUEST_BYTES_MAX as usize]).await.unwrap();
        let mut answer = Vec::new();
        // Closed, by reset or by end; in no case answered.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
        stop.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.sock");
        let stop = CancellationToken::new();
        let socket = AdminSocket::bind(&path).unwrap();
        let server = tokio::spawn(socket.serve(Arc::new(Long), Arc::new(SystemClock::new()), stop.clone()));
        let refused = ask(&path, &Request::Status).await.unwrap_err();
        assert!(matches!(refused, AskError::Refused { code, .. } if code == "too_long"));
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
    impl Commands for Three {
        async fn execute(&self, request: Request) -> Result<Value, AdminError> {
            assert_eq!(request, Request::Status);
            Ok(json!({ "sessions": 3 }))
        }
    }

    #[derive(Debug)]
    struct Long;

    #[async_trait]
    impl Commands for Long {
        async fn execute(&self, _: Request) -> Result<Value, AdminError> {
            Ok(json!({ "long": "x".repeat(RESPONSE_BYTES_MAX as usize) }))
        }
    }
}
