//! `POST /api/login-codes`: a code by mail, to log in with.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::{Answer, HttpState, Problem, json_body::JsonBody, rate};
use crate::{
    access::{limits::Class, secrets::Purpose},
    mail::{MailFault, Mailer, checked_address},
};

#[derive(Deserialize)]
struct NewCode {
    email: String,
}

/// 202 whoever it is for: whether the hub knows the address shows only to who reads its mail, and nobody waits for the mail
/// to leave.
pub(super) async fn send(state: web::Data<HttpState>, request: HttpRequest, body: JsonBody) -> Answer {
    let mailer = mailer(&state)?;
    let NewCode { email } = body.parse()?;
    let to = checked_address(&email).ok_or_else(|| Problem::bad_parameter("email", "is no e-mail address"))?;
    let address = to.to_string();
    rate::count(&state, Class::LoginCode, rate::address(&state, &request)).await?;
    rate::count(&state, Class::LoginCode, state.limits.mailbox(&address)).await?;
    let code = state.secrets.issue_code(Purpose::LoginCode, &address, "").await?;
    let text = format!(
        "Your code is {} {}\r\n\r\nIt is good for five minutes, once. If you did not ask for it, somebody typed your \
         address: nothing happens unless they get the code, too.\r\n",
        &code[..4],
        &code[4..]
    );
    mailer.send(to, "Your login code", text)?;
    Ok(HttpResponse::Accepted()
        .json(serde_json::json!({"expires_in_ms": Purpose::LoginCode.lifetime().as_millis() as u64})))
}

/// Whoever sends mail, if there is anybody.
pub(super) fn mailer(state: &HttpState) -> Result<&Mailer, Problem> {
    state
        .mailer
        .as_ref()
        .ok_or_else(|| Problem::not_implemented("this hub sends no mail; its operator can set SMTP_URL"))
}

impl From<MailFault> for Problem {
    fn from(fault: MailFault) -> Self {
        match fault {
            MailFault::Busy => Self::unavailable(10, fault.to_string()),
            MailFault::Unwritable => Self::bad_parameter("email", fault),
        }
    }
}
