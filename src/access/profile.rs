//! Profiles: what somebody says of themselves to the hub, over what their token says.

use std::sync::Arc;

use super::{Access, Identity, color, identity::checked_name, token::checked_picture};
use crate::{
    ids::UserId,
    protocol::User,
    store::{ProfileFields, StoreError, UserProfile},
};

/// A change to somebody's own profile; a field that is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange {
    /// Another name.
    pub name: Option<String>,
    /// Another colour; `Some(None)` for the one that follows from the user id.
    pub color: Option<Option<String>>,
    /// Another picture; `Some(None)` for none.
    pub avatar_url: Option<Option<String>>,
}

/// A field that breaks its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileFault {
    /// 1 to 64 characters.
    Name,
    /// `#rgb` or `#rrggbb`.
    Color,
    /// An address of the web.
    AvatarUrl,
}

impl Access {
    /// Somebody as others see them now: by their profile, if they have one.
    ///
    /// # Errors
    /// The store could not say.
    pub async fn by_profile(&self, identity: &Identity) -> Result<Arc<User>, StoreError> {
        let Some(id) = identity.proven_user() else { return Ok(Arc::clone(&identity.user)) };
        let profile = self.catalogue.user(id).await?;
        Ok(profile.map_or_else(|| Arc::clone(&identity.user), |profile| Identity::of_profile(&profile).user))
    }

    /// The profile of a user; of somebody who asks for their own, whatever is known of them.
    ///
    /// # Errors
    /// The store could not say.
    pub async fn profile(&self, who: &Identity, id: &UserId) -> Result<Option<UserProfile>, StoreError> {
        if let Some(profile) = self.catalogue.user(id).await? {
            return Ok(Some(profile));
        }
        Ok((who.author().is_some() && who.user.user_id == *id).then(|| as_known(&who.user)))
    }

    /// Changes somebody's own profile. What is not changed is kept, or taken from what their token said.
    ///
    /// # Errors
    /// A field that breaks its rule; nothing was written. The store's error in the inner result.
    pub async fn change_profile(
        &self,
        who: &Identity,
        change: ProfileChange,
    ) -> Result<Result<UserProfile, StoreError>, ProfileFault> {
        let fields = ProfileFields {
            name: change.name.is_some(),
            color: change.color.is_some(),
            avatar_url: change.avatar_url.is_some(),
        };
        let mut profile = as_known(&who.user);
        if let Some(name) = change.name {
            profile.name = checked_name(&name).ok_or(ProfileFault::Name)?.to_owned();
        }
        if let Some(given) = change.color {
            profile.color = given.map(|given| color::parse(&given).ok_or(ProfileFault::Color)).transpose()?;
        }
        if let Some(given) = change.avatar_url {
            let checked = |given: String| checked_picture(&given).ok_or(ProfileFault::AvatarUrl);
            profile.avatar_url = given.map(checked).transpose()?;
        }
        Ok(self.catalogue.put_profile(&profile, fields).await)
    }
}

fn as_known(user: &User) -> UserProfile {
    UserProfile {
        id: user.user_id.clone(),
        name: user.name.clone(),
        color: Some(user.color.clone()).filter(|known| *known != color::of(&user.user_id)),
        avatar_url: user.avatar_url.clone(),
        email: None,
    }
}
