//! The contract of a [`Store`], as tests that every implementation passes.
//!
//! An implementation's tests name a [`Ground`] in [`contract_tests!`], which makes a test of each promise. A promise opens
//! as many stores as it needs over the same data: each stands for a hub process.

mod changes;
mod directory;
mod messages;
mod search;
mod users;

use std::sync::Arc;

use async_trait::async_trait;

use super::{Author, NewMessage, Project, RoomKey, Store, Visibility};
use crate::{
    clock::now_utc,
    ids::{MessageId, UserId},
};

pub(super) use self::{changes::*, directory::*, messages::*, search::*, users::*};

/// Data of its own, over which stores can be opened.
#[async_trait]
pub(super) trait Ground: Send + Sync {
    /// Another store over the same data.
    async fn store(&self) -> Arc<dyn Store>;
}

macro_rules! contract_tests {
    ($ground:expr) => {
        $crate::store::contract::contract_tests! {
            $ground;
            seqs_start_at_one_and_follow_the_batch,
            rooms_count_by_themselves,
            a_repeated_id_is_answered_with_its_old_place,
            the_same_id_in_two_rooms_is_two_messages,
            batches_of_every_size_are_taken,
            a_batch_that_is_too_large_is_refused_whole,
            a_room_that_does_not_exist_holds_up_nobody,
            many_writers_on_two_stores_leave_no_holes,
            racing_writers_of_the_same_ids_agree,
            any_sequence_of_batches_does_what_the_model_says,
            ranges_are_read_from_both_ends,
            messages_come_back_as_they_were_written,
            a_reopened_store_finds_everything,
            a_project_is_made_once_and_changed,
            projects_are_listed_for_those_who_may_see_them,
            members_have_roles,
            a_room_is_made_once_by_whoever_comes_first,
            rooms_are_listed_with_heads_and_markers,
            read_markers_only_move_forward,
            a_deleted_project_takes_everything_with_it,
            what_changed_is_logged_in_order_and_seen_by_all,
            a_deleted_project_is_one_change,
            racing_changes_are_numbered_without_holes,
            readers_of_caches_are_listed_until_their_time_is_over,
            heads_and_extents_grow_with_the_messages,
            an_address_has_one_user,
            a_profile_is_changed_field_by_field,
            a_closed_store_is_unavailable,
            messages_are_found_by_their_words,
            a_search_looks_where_it_is_told_to,
            what_is_found_is_paged_without_gaps,
            what_was_appended_anywhere_is_found_at_once,
            a_large_backlog_is_brought_in,
            what_was_deleted_is_not_found,
            any_query_finds_what_the_model_says,
        }
    };
    ($ground:expr; $($promise:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            $crate::store::contract::$promise(&$ground).await;
        }
    )*};
}
pub(super) use contract_tests;

/// A public project of that name.
pub(super) fn a_project(id: &str) -> Project {
    Project { id: id.parse().unwrap(), name: id.to_uppercase(), visibility: Visibility::Public, created_at: now_utc() }
}

/// The key of that room, made with its project if it is missing.
pub(super) async fn a_room(store: &dyn Store, room: &str) -> RoomKey {
    let project = room.split_once('/').unwrap().0;
    store.create_project(&a_project(project), None).await.unwrap();
    store.ensure_room(&room.parse().unwrap()).await.unwrap().unwrap()
}

/// A new message.
pub(super) fn a_message(room: RoomKey) -> NewMessage {
    a_message_with(room, MessageId::now_v7())
}

/// A message of that id.
pub(super) fn a_message_with(room: RoomKey, id: MessageId) -> NewMessage {
    let author = Author { user_id: user("ada"), name: "Ada".into(), connection_id: Some("0123456789abcdef".into()) };
    NewMessage { room, id, author, body: format!(r#"{{"id":"{id}"}}"#), sent_at: now_utc() }
}

/// A user id.
pub(super) fn user(id: &str) -> UserId {
    id.parse().unwrap()
}
