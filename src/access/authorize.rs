//! Roles: what an identity may do in a project and its rooms, and what a first join makes.
//!
//! A role comes from the token's claim or from the stored membership, the higher of both. Either one, once there, decides,
//! also downwards: whoever is named a viewer is one in a public project, too. Visibility speaks only for those whom neither
//! names: in a public project they are editors (the anonymous viewers), in a private one they are nobody. Guests prove
//! nothing, so stored roles do not count for them.
//!
//! Invariant: to somebody without a role a private project looks exactly like one that does not exist (`NotFound`);
//! `Forbidden` is only ever said to those who may see it.

use super::{Access, Identity, IdentityKind};
use crate::{
    clock::now_utc,
    ids::{ProjectId, RoomId},
    store::{Project, Role, RoomKey, StoreError, Visibility},
};

/// What somebody is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Look at what is there: history, presence, lists. Makes nothing.
    Read,
    /// Be a member of the room, be seen, move a cursor, move a read marker. Makes a missing project and room for those
    /// who may (see [`Access::authorize`]).
    Join,
    /// Write a message, broadcast an event, make a room.
    Send,
    /// Change or delete the project, manage its members.
    Manage,
}

impl Need {
    /// Whether a role suffices: what a room that was joined asks for each frame, without asking the store.
    pub fn allowed_to(self, role: Role) -> bool {
        let least = match self {
            Self::Read | Self::Join => Role::Viewer,
            Self::Send => Role::Editor,
            Self::Manage => Role::Owner,
        };
        role >= least
    }
}

/// The way into a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The room, as the store knows it.
    pub room: RoomKey,
    /// What may be done there.
    pub role: Role,
}

/// The way into a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectGrant {
    /// The project.
    pub project: Project,
    /// What may be done there.
    pub role: Role,
    /// The role was claimed or stored, rather than given to everybody.
    pub named: bool,
}

/// Why the way is closed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccessError {
    /// The role does not allow it.
    #[error("your role in this project does not allow that")]
    Forbidden,
    /// There is no such project or room, as far as the asker may know.
    #[error("there is no such project or room")]
    NotFound,
    /// The store could not say.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

impl Access {
    /// The way into a room. With [`Need::Join`] what is missing is made: where guests are allowed by anybody, as a public
    /// project; elsewhere the room by editors, and the project, a private one, by those whose token claims to be an
    /// editor or owner of it.
    ///
    /// # Errors
    /// `NotFound` for what is not there, may not be seen or may not be made; `Forbidden` when the role does not suffice.
    pub async fn authorize(&self, identity: &Identity, room: &RoomId, need: Need) -> Result<Grant, AccessError> {
        let id = room.project();
        let project = match self.catalogue.project(&id).await? {
            Some(project) => project,
            None if need == Need::Join => self.make_project(identity, id).await?,
            None => return Err(AccessError::NotFound),
        };
        let role = self.grant(identity, project, need).await?.role;
        let key = if need == Need::Join && Need::Send.allowed_to(role) {
            self.catalogue.ensure_room(room).await?
        } else {
            self.catalogue.room(room).await?
        };
        Ok(Grant { room: key.ok_or(AccessError::NotFound)?, role })
    }

    /// The way into a project.
    ///
    /// # Errors
    /// As [`authorize`](Self::authorize), and nothing is made.
    pub async fn project(&self, identity: &Identity, id: &ProjectId, need: Need) -> Result<ProjectGrant, AccessError> {
        let project = self.catalogue.project(id).await?.ok_or(AccessError::NotFound)?;
        self.grant(identity, project, need).await
    }

    async fn grant(&self, identity: &Identity, project: Project, need: Need) -> Result<ProjectGrant, AccessError> {
        let grant = self.standing(identity, project).await?;
        if need.allowed_to(grant.role) { Ok(grant) } else { Err(AccessError::Forbidden) }
    }

    /// What somebody is in a project that was just shown to exist.
    async fn standing(&self, identity: &Identity, project: Project) -> Result<ProjectGrant, AccessError> {
        let stored = match identity.proven_user() {
            Some(user) if identity.claimed_role(&project.id) != Some(Role::Owner) => {
                self.catalogue.role(&project.id, user).await?
            }
            _ => None,
        };
        with_role(identity, project, stored).ok_or(AccessError::NotFound)
    }

    /// What somebody is in those of the projects that they may see.
    ///
    /// # Errors
    /// The store's.
    pub async fn standings(
        &self,
        identity: &Identity,
        projects: Vec<Project>,
    ) -> Result<Vec<ProjectGrant>, AccessError> {
        let stored = match identity.proven_user() {
            Some(user) => self.catalogue.roles(projects.iter().map(|project| &project.id), user).await?,
            None => vec![None; projects.len()],
        };
        Ok(projects.into_iter().zip(stored).filter_map(|(project, role)| with_role(identity, project, role)).collect())
    }

    async fn make_project(&self, identity: &Identity, id: ProjectId) -> Result<Project, AccessError> {
        let by_guests = self.allow_guests.then_some(Role::Editor);
        let role = identity.claimed_role(&id).or(by_guests).ok_or(AccessError::NotFound)?;
        if !Need::Send.allowed_to(role) {
            return Err(AccessError::NotFound);
        }
        let visibility = if self.allow_guests { Visibility::Public } else { Visibility::Private };
        let project = Project { name: id.as_str().into(), id, visibility, created_at: now_utc() };
        if self.catalogue.create_project(&project, None).await? {
            return Ok(project);
        }
        // Somebody else was faster, perhaps with another visibility.
        self.catalogue.project(&project.id).await?.ok_or(AccessError::NotFound)
    }
}

/// The role by claim or membership, else by visibility; `None` for whoever may not see it.
fn with_role(identity: &Identity, project: Project, stored: Option<Role>) -> Option<ProjectGrant> {
    let named = identity.claimed_role(&project.id).max(stored);
    let role = named.or(role_by_visibility(project.visibility, identity.kind))?;
    Some(ProjectGrant { project, role, named: named.is_some() })
}

fn role_by_visibility(visibility: Visibility, kind: IdentityKind) -> Option<Role> {
    match (visibility, kind) {
        (Visibility::Private, _) => None,
        (Visibility::Public, IdentityKind::Anonymous) => Some(Role::Viewer),
        (Visibility::Public, IdentityKind::Guest | IdentityKind::Token) => Some(Role::Editor),
    }
}
