//! A Redis client of a few lines, so that what the hub does to Redis is not judged by the library it does it with.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// An answer of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Text(String),
    Number(i64),
    Error(String),
    Nothing,
    List(Vec<Reply>),
}

impl Reply {
    pub fn texts(self) -> Vec<String> {
        match self {
            Self::List(items) => items.into_iter().flat_map(Self::texts).collect(),
            Self::Text(text) => vec![text],
            Self::Number(number) => vec![number.to_string()],
            Self::Nothing => vec![],
            Self::Error(error) => panic!("Redis says: {error}"),
        }
    }
}

/// Sends one command on a connection of its own.
pub async fn command(address: SocketAddr, password: Option<&str>, words: &[&str]) -> std::io::Result<Reply> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    if let Some(password) = password {
        write(&mut stream, &["AUTH", password]).await?;
        read(&mut stream).await?;
    }
    write(&mut stream, words).await?;
    read(&mut stream).await
}

async fn write(stream: &mut BufReader<TcpStream>, words: &[&str]) -> std::io::Result<()> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(bytes.as_bytes()).await
}

async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Reply> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    let number = || rest.parse::<i64>().expect("a number");
    Ok(match kind {
        "+" => Reply::Text(rest.into()),
        "-" => Reply::Error(rest.into()),
        ":" => Reply::Number(number()),
        "$" | "*" if number() < 0 => Reply::Nothing,
        "$" => {
            let mut bytes = vec![0; number() as usize + 2];
            stream.read_exact(&mut bytes).await?;
            bytes.truncate(bytes.len() - 2);
            Reply::Text(String::from_utf8(bytes).expect("text"))
        }
        "*" => {
            let mut items = Vec::new();
            for _ in 0..number() {
                items.push(Box::pin(read(stream)).await?);
            }
            Reply::List(items)
        }
        _ => panic!("not a reply: {line}"),
    })
}
