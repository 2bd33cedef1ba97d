//! What is done to a webhook besides changing its fields: rotate, enable, disable, delete.

use askama::Template;
use chathook_domain::signature::Overlap;
use serde_json::json;

use super::{Waiting, webhook_ids};
use crate::api::extract::Ids;
use crate::dashboard::ROOT;
use crate::dashboard::form::Form;
use crate::dashboard::moment::Moment;
use crate::dashboard::page::{Answer, Flash, Page, Section, Visit, render};

#[derive(Template)]
#[template(path = "dashboard/webhooks/delete.html")]
struct DeletePage {
    page: Page,
    here: String,
    name: String,
    waiting: Waiting,
}

pub async fn rotate_secret(visit: Visit, Ids((app, id)): Ids<(String, String)>, form: Form) -> Answer {
    let here = url(&app, &id);
    let (app, id) = webhook_ids(&app, &id)?;
    let overlap = Overlap::parse(&json!({"overlapSeconds": form.text("overlapSeconds")}))?;
    let secrets = visit.engine().rotate_secret(&app, &id, overlap).await?.secrets;
    let old = match secrets.previous {
        Some(previous) => format!("The old one signs beside it until {}.", Moment(previous.until).to_text()),
        None => "The old one signs no more.".to_owned(),
    };
    let flash =
        Flash::good(format!("Requests are signed with a new secret, which is not shown again. {old}"));
    visit.leave(&here, flash.with_secret("Signing secret", secrets.present.to_text()))
}

pub async fn enable_webhook(visit: Visit, Ids((app, id)): Ids<(String, String)>) -> Answer {
    let here = url(&app, &id);
    let (app, id) = webhook_ids(&app, &id)?;
    visit.engine().update_webhook(&app, &id, &json!({"enabled": true})).await?;
    visit.done(&here, "The webhook is on. What waited goes out now.")
}

pub async fn disable_webhook(visit: Visit, Ids((app, id)): Ids<(String, String)>) -> Answer {
    let here = url(&app, &id);
    let (app, id) = webhook_ids(&app, &id)?;
    visit.engine().update_webhook(&app, &id, &json!({"enabled": false})).await?;
    visit.done(&here, "The webhook is off. Nothing new is owed to it.")
}

pub async fn show_delete(visit: Visit, Ids((app, id)): Ids<(String, String)>) -> Answer {
    let here = url(&app, &id);
    let (app, id) = webhook_ids(&app, &id)?;
    let app = visit.engine().app(&app).await?;
    let name = visit.engine().webhook(&app.id, &id).await?.config.name;
    let standing = visit.engine().standings(&app.id).await?.into_iter().find(|one| one.webhook == id);
    let page = visit.page_of(&app, Section::Webhooks, "Delete").await?.under(&name, &here);
    render(&DeletePage { page, here, name, waiting: Waiting::of(standing.as_ref()) })
}

pub async fn delete_webhook(visit: Visit, Ids((app, id)): Ids<(String, String)>) -> Answer {
    let (app, id) = webhook_ids(&app, &id)?;
    visit.engine().delete_webhook(&app, &id).await?;
    visit.done(&format!("{ROOT}/apps/{app}/webhooks"), &format!("The webhook '{id}' is deleted."))
}

fn url(app: &str, id: &str) -> String {
    format!("{ROOT}/apps/{app}/webhooks/{id}")
}
