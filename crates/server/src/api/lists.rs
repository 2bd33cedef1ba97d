//! Success envelopes, and the two ways in which lists are paged (spec 4.2).

use std::borrow::Cow;

use axum::Json;
use chathook_domain::ids::{Key, MessageId};
use chathook_domain::message::Message;
use chathook_domain::refusal::{Code, Refusal};
use chathook_engine::ports::store::{MessageFilter, Page, PageRequest};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::error::ApiError;
use super::extract::Params;
use super::shapes::messages;

/// What a handler answers with.
pub type Answer = Result<Json<Value>, ApiError>;

const PER_PAGE_DEFAULT: i64 = 100;
const PER_PAGE_MAX: i64 = 1_000;
const SEARCH_CHARS_MAX: usize = 100;
const PAGE_MAX: i64 = 1_000_000_000;

/// One thing in its envelope.
// Spec 4.2.
#[derive(Serialize, ToSchema)]
pub struct Data<T> {
    data: T,
}

/// That something was done.
#[derive(Serialize, ToSchema)]
pub struct Done<'a> {
    success: bool,
    message: Cow<'a, str>,
}

impl<'a> Done<'a> {
    pub fn that(sentence: impl Into<Cow<'a, str>>) -> Self {
        Self { success: true, message: sentence.into() }
    }
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct Paged<T> {
    data: Vec<T>,
    meta: PagedMeta,
}

#[derive(Serialize, ToSchema)]
pub struct PagedMeta {
    pagination: Pagination,
}

/// Which page it is, and how many there are.
#[derive(Serialize, ToSchema)]
pub struct Pagination {
    total: i64,
    count: usize,
    per_page: i64,
    current_page: i64,
    total_pages: u64,
}

/// A part of a list, the newest first.
#[derive(Serialize, ToSchema)]
pub struct Listed<T> {
    data: Vec<T>,
    meta: ListedMeta,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedMeta {
    limit: i64,
    count: usize,
    /// One request looks at so many rows and no more: there may be further ones, found with the cursor.
    is_partial: bool,
    /// Asks for what follows; the last part has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// Messages, oldest first.
#[derive(ToSchema)]
pub struct Messages {
    pub data: Vec<messages::Message>,
    pub meta: MessagesMeta,
}

#[derive(Serialize, ToSchema)]
pub struct MessagesMeta {
    current: Current,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Next>,
}

#[derive(Serialize, ToSchema)]
pub struct Current {
    limit: i64,
    count: usize,
}

/// What the query repeats to ask for what follows.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Next {
    affix: Affix,
    sent_at: i64,
    id: String,
}

/// Which page of a list is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct PageQuery {
    /// Counted from 1, which is what is given unless asked otherwise.
    #[param(minimum = 0, maximum = 1_000_000_000)]
    pub page: Option<i64>,
    /// 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    pub per_page: Option<i64>,
}

/// A page of what a search finds.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct SearchQuery {
    /// What an id or a name begins with.
    #[param(max_length = 100)]
    pub search_key: Option<String>,
}

/// A page of what a search by name finds.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct NameQuery {
    /// What stands somewhere in a name.
    #[param(max_length = 100)]
    pub search_key: Option<String>,
}

/// How much of a list is asked for, and from where.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<i64>,
    /// The `meta.cursor` of the answer before.
    pub cursor: Option<String>,
}

/// Where in a list of messages the caller stands. Without any of it: the newest 100.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct MessagesQuery {
    /// `prepend` (unless given) goes towards older messages, `append` towards newer ones.
    #[param(inline)]
    pub affix: Option<Affix>,
    /// The message from which to go on; it is not given again.
    pub id: Option<String>,
    /// 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<i64>,
    /// The same as `limit`, which goes before it.
    #[param(minimum = 1, maximum = 1000)]
    pub per_page: Option<i64>,
}

/// What a handler answers with that shows a message, which is written as it is.
pub type MessageAnswer = Result<Json<Data<Message>>, ApiError>;

pub fn shown(message: Message) -> Json<Data<Message>> {
    Json(Data { data: message })
}

pub fn data(value: impl Serialize) -> Json<Value> {
    Json(json!(Data { data: value }))
}

/// A deed that leaves nothing to show but that it was done.
pub fn done(message: &str) -> Json<Value> {
    data(Done::that(message))
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

pub fn paged<T: Serialize>(items: Vec<T>, total: i64, request: PageRequest) -> Json<Value> {
    let pagination = Pagination {
        total,
        count: items.len(),
        per_page: request.per_page,
        current_page: request.page,
        total_pages: total.unsigned_abs().div_ceil(request.per_page.unsigned_abs().max(1)),
    };
    Json(json!(Paged { data: items, meta: PagedMeta { pagination } }))
}

/// One page of a list that is whole in memory.
pub fn page_of<T: Serialize>(all: Vec<T>, request: PageRequest) -> Json<Value> {
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let skipped = usize::try_from((request.page - 1) * request.per_page).unwrap_or(usize::MAX);
    let taken = usize::try_from(request.per_page).unwrap_or(usize::MAX);
    paged(all.into_iter().skip(skipped).take(taken).collect(), total, request)
}

pub fn page_of_store<T, S: Serialize>(
    page: &Page<T>,
    request: PageRequest,
    shown: impl Fn(&T) -> S,
) -> Json<Value> {
    paged(page.items.iter().map(shown).collect(), page.total, request)
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
pub fn with_cursor<T: Serialize>(items: Vec<T>, limit: i64, cursor: Option<String>) -> Json<Value> {
    let is_short = i64::try_from(items.len()).is_ok_and(|count| count < limit);
    let is_partial = cursor.is_some() && is_short;
    let meta = ListedMeta { limit, count: items.len(), is_partial, cursor };
    Json(json!(Listed { data: items, meta }))
}

/// A list of rows, newest first, of which one more than `limit` was asked for.
pub fn rows_with_cursor<T, S: Serialize>(
    mut rows: Vec<T>,
    limit: i64,
    row_of: impl Fn(&T) -> i64,
    shown: impl Fn(&T) -> S,
) -> Json<Value> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let goes_on = rows.len() > most;
    rows.truncate(most);
    let cursor = rows.last().filter(|_| goes_on).map(|row| row_of(row).to_string());
    with_cursor(rows.iter().map(shown).collect(), limit, cursor)
}

/// Which way a list of messages is walked (spec 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Affix {
    /// Towards newer messages.
    Append,
    /// Towards older messages.
    Prepend,
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
        let next = last.map(|last| Next {
            affix: self.affix,
            sent_at: last.sent_at.seconds(),
            id: last.id.to_string(),
        });
        let meta = MessagesMeta { current: Current { limit: self.limit, count: messages.len() }, next };
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
