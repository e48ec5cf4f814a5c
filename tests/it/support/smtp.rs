//! A mail server that takes everything and keeps it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::eventually;

/// A mail as it came.
#[derive(Debug, Clone)]
pub struct Mail {
    pub from: String,
    pub to: String,
    pub text: String,
}

/// The server. Dropped, it ends.
pub struct SmtpSink {
    address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
    server: JoinHandle<()>,
}

impl SmtpSink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mails = Arc::<Mutex<Vec<Mail>>>::default();
        let kept = Arc::clone(&mails);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                // A client that breaks off leaves nothing.
                tokio::spawn(async move { serve(client, &kept).await.ok() });
            }
        });
        Self { address, mails, server }
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// The settings of a hub that sends its mail here.
    pub fn settings<'a>(&self, url: &'a str) -> [(&'static str, &'a str); 2] {
        [("SMTP_URL", url), ("MAIL_FROM", "Hubbub <hub@example.com>")]
    }

    /// How many mails came so far.
    pub fn count(&self) -> usize {
        self.mails.lock().expect("whole").len()
    }

    /// The mail that comes as the `nth`, from 1.
    pub async fn mail(&self, nth: usize) -> Mail {
        eventually("a mail came", async || self.mails.lock().expect("whole").get(nth - 1).cloned()).await
    }
}

impl Mail {
    /// The code in it.
    pub fn code(&self) -> String {
        let line = self.text.lines().find(|line| line.starts_with("Your code is ")).expect("a code");
        line.chars().filter(char::is_ascii_digit).collect()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(mut client: TcpStream, mails: &Mutex<Vec<Mail>>) -> std::io::Result<()> {
    let (read, mut write) = client.split();
    let mut lines = BufReader::new(read).lines();
    let (mut from, mut to) = (String::new(), String::new());
    write.write_all(b"220 sink\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "MAIL" => {
                from = line;
                b"250 ok\r\n"
            }
            "RCPT" => {
                to = line;
                b"250 ok\r\n"
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                let mut text = String::new();
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    text.push_str(&line);
                    text.push('\n');
                }
                mails.lock().expect("whole").push(Mail { from: from.clone(), to: to.clone(), text });
                b"250 kept\r\n"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"250 sink\r\n",
        };
        write.write_all(answer).await?;
    }
    Ok(())
}
