//! What one part knows: a View folded from its own watch of the store, as far as the world has let it read.

use std::sync::Arc;

use cache::{Reflector, View};
use futures::{FutureExt as _, StreamExt as _};
use store::{Backend, Watch};

use crate::world::now;

const PREFIX: &str = "/registry/";

pub struct Feed {
    store: Arc<dyn Backend>,
    reflector: Reflector,
    watch: Option<Watch>,
}

impl Feed {
    /// Lists, and watches from there.
    pub fn new(store: Arc<dyn Backend>) -> Feed {
        let mut feed = Feed { store, reflector: Reflector::default(), watch: None };
        feed.relist();
        feed
    }

    pub fn view(&self) -> &Arc<View> {
        self.reflector.view()
    }

    /// Reads up to `count` events; after a lost watch it lists anew.
    pub fn deliver(&mut self, count: usize) {
        for _ in 0..count {
            let Some(watch) = &mut self.watch else { return self.relist() };
            match watch.next().now_or_never().flatten() {
                Some(Ok(event)) => {
                    self.reflector.apply(plane::views::input(&event));
                }
                Some(Err(_)) => return self.relist(),
                None => return,
            }
        }
    }

    /// The watch breaks: the part goes on with what it has until it reads again.
    pub fn lose_watch(&mut self) {
        self.watch = None;
    }

    fn relist(&mut self) {
        let revision =
            now(plane::views::restart(self.store.as_ref(), &mut self.reflector)).expect("memory is readable");
        self.watch = Some(self.store.watch(PREFIX, revision).expect("just listed"));
    }
}
