//! Success envelopes, and the two ways in which lists are paged (spec 4.2).

use axum::Json;
use chathook_domain::ids::{Key, MessageId};
use chathook_domain::message::Message;
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::ports::store::{MessageFilter, Page, PageRequest};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::Params;

/// What a handler answers with.
pub type Answer = Result<Json<Value>, ApiError>;

const PER_PAGE_DEFAULT: i64 = 100;
const PER_PAGE_MAX: i64 = 1_000;
const SEARCH_CHARS_MAX: usize = 100;
const PAGE_MAX: i64 = 1_000_000_000;

/// One thing in the envelope of spec 4.2.
#[derive(Serialize)]
pub struct Data<T> {
    data: T,
}

/// What a handler answers with that shows a message, which is written as it is.
pub type MessageAnswer = Result<Json<Data<Message>>, ApiError>;

pub fn shown(message: Message) -> Json<Data<Message>> {
    Json(Data { data: message })
}

pub fn data(value: Value) -> Json<Value> {
    Json(json!({"data": value}))
}

/// A deed that leaves nothing to show but that it was done.
pub fn done(message: &str) -> Json<Value> {
    data(json!({"success": true, "message": message}))
}

pub fn page_request(params: &Params) -> Result<PageRequest, Refusal> {
    // Some clients count pages from 0.
    let page = params.number("page", 0, PAGE_MAX)?.unwrap_or(1).max(1);
    let per_page = params.number("perPage", 1, PER_PAGE_MAX)?.unwrap_or(PER_PAGE_DEFAULT);
    Ok(PageRequest { page, per_page })
}

/// What a list is searched for.
pub fn search_key(params: &Params) -> Result<Option<&str>, Refusal> {
    search_text(params, "searchKey")
}

/// The same, under another name.
pub fn search_text<'a>(params: &'a Params, name: &str) -> Result<Option<&'a str>, Refusal> {
    let search = params.text(name);
    if search.is_some_and(|text| text.chars().count() > SEARCH_CHARS_MAX) {
        let complaint = format!("must have at most {SEARCH_CHARS_MAX} characters");
        return Err(Refusal::field(Code::BadRequest, name, &complaint));
    }
    Ok(search)
}

pub fn paged(items: Vec<Value>, total: i64, request: PageRequest) -> Json<Value> {
    let pagination = json!({
        "total": total,
        "count": items.len(),
        "per_page": request.per_page,
        "current_page": request.page,
        "total_pages": total.unsigned_abs().div_ceil(request.per_page.unsigned_abs().max(1)),
    });
    Json(json!({"data": items, "meta": {"pagination": pagination}}))
}

/// One page of a list that is whole in memory.
pub fn page_of(all: Vec<Value>, request: PageRequest) -> Json<Value> {
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let skipped = usize::try_from((request.page - 1) * request.per_page).unwrap_or(usize::MAX);
    let taken = usize::try_from(request.per_page).unwrap_or(usize::MAX);
    paged(all.into_iter().skip(skipped).take(taken).collect(), total, request)
}

pub fn page_of_store<T>(page: &Page<T>, request: PageRequest, to_json: impl Fn(&T) -> Value) -> Json<Value> {
    paged(page.items.iter().map(to_json).collect(), page.total, request)
}

/// How much of a list with a cursor is asked for.
pub fn limit(params: &Params) -> Result<i64, Refusal> {
    Ok(params.number("limit", 1, PER_PAGE_MAX)?.unwrap_or(PER_PAGE_DEFAULT))
}

/// The refusal of a cursor that no answer gave.
pub fn strange_cursor() -> Refusal {
    Refusal::field(Code::BadRequest, "cursor", "must be one that this list's last answer gave, or left out")
}

/// The cursor of a list of rows, newest first: the row below which it goes on.
pub fn row_cursor(params: &Params) -> Result<i64, Refusal> {
    match params.text("cursor") {
        None => Ok(i64::MAX),
        Some(text) => MessageId::parse(text).map(|id| id.0).ok_or_else(strange_cursor),
    }
}

/// A list whose `meta.cursor` asks for what follows; there is none at the end. A list that looked at
/// as much as one request may, and found less than was asked for, says so with `isPartial`.
pub fn with_cursor(items: Vec<Value>, limit: i64, cursor: Option<String>) -> Json<Value> {
    let is_short = i64::try_from(items.len()).is_ok_and(|count| count < limit);
    let mut meta = json!({"limit": limit, "count": items.len(), "isPartial": cursor.is_some() && is_short});
    if let Some(cursor) = cursor {
        meta["cursor"] = json!(cursor);
    }
    Json(json!({"data": items, "meta": meta}))
}

/// A list of rows, newest first, of which one more than `limit` was asked for.
pub fn rows_with_cursor<T>(
    mut rows: Vec<T>,
    limit: i64,
    row_of: impl Fn(&T) -> i64,
    to_json: impl Fn(&T) -> Value,
) -> Json<Value> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let goes_on = rows.len() > most;
    rows.truncate(most);
    let cursor = rows.last().filter(|_| goes_on).map(|row| row_of(row).to_string());
    with_cursor(rows.iter().map(to_json).collect(), limit, cursor)
}

/// Which way a list of messages is walked (spec 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affix {
    /// Towards newer messages.
    Append,
    /// Towards older messages.
    Prepend,
}

impl Affix {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Prepend => "prepend",
        }
    }
}

/// Where in a list of messages the caller stands.
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    affix: Affix,
    id: Option<MessageId>,
    limit: i64,
}

impl Cursor {
    /// Reads `affix`, `id`, and `limit` or `perPage`. Without them: the newest 100.
    pub fn parse(params: &Params) -> Result<Self, Refusal> {
        let affix = match params.text("affix") {
            None | Some("prepend") => Affix::Prepend,
            Some("append") => Affix::Append,
            Some(_) => {
                return Err(Refusal::field(Code::BadRequest, "affix", "must be 'append' or 'prepend'"));
            }
        };
        let id = params.text("id").map(|text| {
            MessageId::parse(text)
                .ok_or_else(|| Refusal::field(Code::BadRequest, "id", "must be a message's id"))
        });
        let limit = match params.number("limit", 1, PER_PAGE_MAX)? {
            Some(limit) => limit,
            None => params.number("perPage", 1, PER_PAGE_MAX)?.unwrap_or(PER_PAGE_DEFAULT),
        };
        Ok(Self { affix, id: id.transpose()?, limit })
    }

    #[must_use]
    pub fn filter(self, conversation: Option<Key>) -> MessageFilter {
        let (before, after) = match self.affix {
            Affix::Append => (None, Some(self.id.unwrap_or(MessageId(0)))),
            Affix::Prepend => (self.id, None),
        };
        MessageFilter { conversation, visible_to: None, before, after, limit: self.limit }
    }

    /// The list with `meta.next`, which repeated as the query asks for what follows.
    pub fn answer(self, messages: &[Message]) -> Json<Value> {
        let last = match self.affix {
            Affix::Append => messages.last(),
            Affix::Prepend => messages.first(),
        };
        let mut meta = json!({"current": {"limit": self.limit, "count": messages.len()}});
        if let Some(last) = last {
            let (id, sent_at) = (last.id.to_string(), last.sent_at.seconds());
            meta["next"] = json!({"affix": self.affix.as_str(), "sentAt": sent_at, "id": id});
        }
        let items: Vec<Value> = messages.iter().map(Message::to_json).collect();
        Json(json!({"data": items, "meta": meta}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_how_many_there_are() {
        let all = (0..5).map(|n| json!(n)).collect();
        let Json(answer) = page_of(all, PageRequest { page: 2, per_page: 2 });
        assert_eq!(answer["data"], json!([2, 3]));
        let pagination = json!({"total": 5, "count": 2, "per_page": 2, "current_page": 2, "total_pages": 3});
        assert_eq!(answer["meta"]["pagination"], pagination);
    }
}
