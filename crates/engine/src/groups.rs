//! Groups and their members.

use chathook_domain::fields::Fields;
use chathook_domain::group::{Group, GroupDraft, GroupKind, Member, Scope};
use chathook_domain::ids::{AppId, Guid, Uid};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::User;
use serde_json::Value;

use crate::caller::Caller;
use crate::engine::{Engine, refuse, uid_not_found};
use crate::ports::store::{Addition, Committed, Page, PageRequest, Told};
use crate::ports::upkeep::Doomed;

/// What came of adding one user.
pub struct Added {
    pub uid: Uid,
    pub scope: Scope,
    pub result: Result<Committed, Refusal>,
}

impl Engine {
    pub async fn create_group(&self, caller: &Caller, draft: GroupDraft) -> Result<Group, Refusal> {
        let now = self.clock.now();
        let owner = if caller.uid.is_system() { draft.owner } else { Some(caller.uid.clone()) };
        let owner = owner.unwrap_or_else(Uid::system);
        self.active_user(&caller.app.id, &owner).await?;
        let member = |(uid, scope)| Member { uid, scope, joined_at: now };
        let members = draft.members.into_iter().map(member).collect();
        let group = Group {
            guid: draft.guid,
            about: draft.about,
            owner,
            members_count: 0,
            created_at: now,
            updated_at: None,
        };
        self.finish_removal(Doomed::Group(caller.app.id.clone(), group.guid.clone())).await?;
        self.store.create_group(&caller.app.id, group, members).await.map_err(refuse)
    }

    pub async fn group(&self, app: &AppId, guid: &Guid) -> Result<Group, Refusal> {
        let group = self.store.group(app, guid).await.map_err(refuse)?;
        group.ok_or_else(|| no_such_group(guid))
    }

    /// A group as this caller may see it: a private one is hidden from who is not in it.
    pub async fn group_seen_by(&self, caller: &Caller, guid: &Guid) -> Result<Group, Refusal> {
        let group = self.group(&caller.app.id, guid).await?;
        if group.about.kind == GroupKind::Private && !caller.uid.is_system() {
            let member = self.store.member(&caller.app.id, guid, &caller.uid).await.map_err(refuse)?;
            member.ok_or_else(|| no_such_group(guid))?;
        }
        Ok(group)
    }

    /// The groups that this caller may see.
    pub async fn groups(
        &self,
        caller: &Caller,
        search: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<Group>, Refusal> {
        let seen_by = (!caller.uid.is_system()).then_some(&caller.uid);
        self.store.groups(&caller.app.id, seen_by, search, page).await.map_err(refuse)
    }

    pub async fn update_group(&self, caller: &Caller, guid: &Guid, body: &Value) -> Result<Group, Refusal> {
        let group = self.group(&caller.app.id, guid).await?;
        self.require_scope(caller, guid, Scope::Moderator).await?;
        let about = group.about.changed_by(body)?;
        let owner = match Fields::of(body)?.text("owner", 100)? {
            Some(owner) if caller.uid.is_system() => Some(Uid::parse("owner", &owner)?),
            _ => None,
        };
        if let Some(owner) = &owner {
            self.active_user(&caller.app.id, owner).await?;
        }
        self.store.set_about(&caller.app.id, guid, about, owner, self.clock.now()).await.map_err(refuse)
    }

    pub async fn delete_group(&self, caller: &Caller, guid: &Guid) -> Result<(), Refusal> {
        self.group(&caller.app.id, guid).await?;
        self.require_scope(caller, guid, Scope::Admin).await?;
        self.store.delete_group(&caller.app.id, guid, self.clock.now()).await.map_err(refuse)?;
        Ok(())
    }

    pub async fn members(
        &self,
        caller: &Caller,
        guid: &Guid,
        page: PageRequest,
    ) -> Result<Page<(User, Member)>, Refusal> {
        self.group_seen_by(caller, guid).await?;
        self.store.members(&caller.app.id, guid, page).await.map_err(refuse)
    }

    pub async fn add_members(
        &self,
        caller: &Caller,
        guid: &Guid,
        members: Vec<(Uid, Scope)>,
    ) -> Result<Vec<Added>, Refusal> {
        self.group(&caller.app.id, guid).await?;
        self.require_scope(caller, guid, Scope::Admin).await?;
        let by = self.active_user(&caller.app.id, &caller.uid).await?;
        let now = self.clock.now();
        let members = members.into_iter().map(|(uid, scope)| Member { uid, scope, joined_at: now }).collect();
        let live = self.live(caller);
        let told = Told::by(move |added: &Vec<Addition>| {
            for committed in added.iter().filter_map(|(_, _, result)| result.as_ref().ok()) {
                live.tell_committed(committed, "memberChanged");
            }
        });
        let added = self.store.add_members(&caller.app.id, guid, members, by, told).await.map_err(refuse)?;
        Ok(added.into_iter().map(|(uid, scope, result)| Added { uid, scope, result }).collect())
    }

    pub async fn kick_member(&self, caller: &Caller, guid: &Guid, uid: &Uid) -> Result<(), Refusal> {
        let app = &caller.app.id;
        self.group(app, guid).await?;
        self.store.user(app, uid).await.map_err(refuse)?.ok_or_else(|| uid_not_found(uid))?;
        let not_a_member = || {
            Refusal::new(Code::NotAMember, format!("The user '{uid}' is no member of the group '{guid}'."))
        };
        let member = self.store.member(app, guid, uid).await.map_err(refuse)?.ok_or_else(not_a_member)?;
        if !caller.uid.is_system() && caller.uid != *uid {
            let mine = self.require_scope(caller, guid, Scope::Moderator).await?;
            if !mine.may_kick(member.scope) {
                return Err(no_clearance());
            }
        }
        let by = self.active_user(app, &caller.uid).await?;
        let live = self.live(caller);
        let told = Told::by(move |committed: &Committed| live.tell_committed(committed, "memberChanged"));
        let removed = self.store.remove_member(app, guid, uid, by, self.clock.now(), told).await;
        removed.map(drop).map_err(refuse)
    }

    /// The caller's scope in a group, at least `least`. A key without `onBehalfOf` may do everything.
    async fn require_scope(&self, caller: &Caller, guid: &Guid, least: Scope) -> Result<Scope, Refusal> {
        if caller.uid.is_system() {
            return Ok(Scope::Admin);
        }
        let member = self.store.member(&caller.app.id, guid, &caller.uid).await.map_err(refuse)?;
        let member = member.ok_or_else(|| not_joined(guid))?;
        if member.scope < least { Err(no_clearance()) } else { Ok(member.scope) }
    }
}

fn no_such_group(guid: &Guid) -> Refusal {
    Refusal::new(Code::GuidNotFound, format!("There is no group with the guid '{guid}'."))
}

pub(crate) fn not_joined(guid: &Guid) -> Refusal {
    Refusal::new(Code::GroupNotJoined, format!("You have not joined the group '{guid}'."))
}

fn no_clearance() -> Refusal {
    Refusal::new(Code::GroupNoClearance, "Your scope in this group does not allow this.")
}
