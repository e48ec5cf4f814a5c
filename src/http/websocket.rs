//! `GET /ws`: the sessions' door, its refusals as problem documents.

use actix_web::{HttpRequest, HttpResponse, web};
use metrics::counter;

use super::Problem;
use crate::session::{SessionContext, UpgradeRefusal, upgrade};

/// Lets a client in, or says why not.
pub(super) async fn open(request: HttpRequest, context: web::Data<SessionContext>) -> Result<HttpResponse, Problem> {
    upgrade(&request, context).map_err(|refusal| {
        counter!("hubbub_upgrades_refused_total", "reason" => word(&refusal)).increment(1);
        let text = refusal.to_string();
        match refusal {
            UpgradeRefusal::Origin(error) => error.into(),
            UpgradeRefusal::Identify(error) => error.into(),
            UpgradeRefusal::Subprotocol | UpgradeRefusal::Handshake(_) => Problem::bad_request(text),
            UpgradeRefusal::Crowded(_, retry) => {
                Problem::too_many_requests(u32::try_from(retry.as_secs()).unwrap_or(u32::MAX), text)
            }
            UpgradeRefusal::Draining => Problem::unavailable(1, text),
            UpgradeRefusal::NoFanout => Problem::internal(),
        }
    })
}

/// The refusal as a label.
fn word(refusal: &UpgradeRefusal) -> &'static str {
    match refusal {
        UpgradeRefusal::Origin(_) => "origin",
        UpgradeRefusal::Identify(_) => "identity",
        UpgradeRefusal::Subprotocol => "subprotocol",
        UpgradeRefusal::Handshake(_) => "handshake",
        UpgradeRefusal::Crowded(..) => "crowded",
        UpgradeRefusal::Draining => "draining",
        UpgradeRefusal::NoFanout => "internal",
    }
}
