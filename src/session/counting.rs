//! Figures of what clients send and are refused. The labels are words of the protocol, never of a client.

use metrics::counter;

use crate::{
    access::AccessError,
    count,
    protocol::{CloseCode, ErrorCode, inbound::Command},
};

/// A frame was understood.
pub(super) fn received(command: &Command<'_>) {
    match command {
        Command::Join { .. } => count!("hubbub_frames_received_total", "type" => "join"),
        Command::Leave { .. } => count!("hubbub_frames_received_total", "type" => "leave"),
        Command::Message { .. } => count!("hubbub_frames_received_total", "type" => "message"),
        Command::Presence { .. } => count!("hubbub_frames_received_total", "type" => "presence"),
        Command::Cursor { .. } => count!("hubbub_frames_received_total", "type" => "cursor"),
        Command::Broadcast { .. } => count!("hubbub_frames_received_total", "type" => "broadcast"),
        Command::Read { .. } => count!("hubbub_frames_received_total", "type" => "read"),
        Command::Heartbeat => count!("hubbub_frames_received_total", "type" => "heartbeat"),
        Command::Auth { .. } => count!("hubbub_frames_received_total", "type" => "auth"),
    }
}

/// A frame was answered with an error by the session. (What a room refuses it counts itself.)
pub(super) fn refused(code: ErrorCode) {
    match code {
        ErrorCode::BadFrame => count!("hubbub_frames_refused_total", "code" => "bad_frame"),
        ErrorCode::UnknownType => count!("hubbub_frames_refused_total", "code" => "unknown_type"),
        ErrorCode::NotJoined => count!("hubbub_frames_refused_total", "code" => "not_joined"),
        ErrorCode::NotFound => count!("hubbub_frames_refused_total", "code" => "not_found"),
        ErrorCode::Forbidden => count!("hubbub_frames_refused_total", "code" => "forbidden"),
        ErrorCode::RateLimited => count!("hubbub_frames_refused_total", "code" => "rate_limited"),
        ErrorCode::TooLarge => count!("hubbub_frames_refused_total", "code" => "too_large"),
        ErrorCode::Unavailable => count!("hubbub_frames_refused_total", "code" => "unavailable"),
        ErrorCode::Internal => count!("hubbub_frames_refused_total", "code" => "internal"),
    }
}

/// A join was decided.
pub(super) fn joined<T>(outcome: &Result<T, AccessError>) {
    match outcome {
        Ok(_) => count!("hubbub_joins_total", "outcome" => "granted"),
        Err(AccessError::Forbidden) => count!("hubbub_joins_total", "outcome" => "forbidden"),
        Err(AccessError::NotFound) => count!("hubbub_joins_total", "outcome" => "not_found"),
        Err(AccessError::Unavailable(_)) => count!("hubbub_joins_total", "outcome" => "unavailable"),
    }
}

/// A connection ended, by the hub's close code if it had one.
pub(super) fn closed(code: Option<CloseCode>) {
    let code = code.map_or_else(|| "none".to_owned(), |code| (code as u16).to_string());
    counter!("hubbub_connections_closed_total", "code" => code).increment(1);
}
