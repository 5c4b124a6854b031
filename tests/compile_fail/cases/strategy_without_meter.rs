// says: implement the missing item: `fn meter(&self)
use tower_lb::{
    prelude::*,
    strategy::{BuildContext, Built, Candidates},
};

struct First;

impl Strategy for First {
    type Picker = Candidates;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<Candidates> {
        Built::new(candidates.clone(), candidates.clone())
    }
}

fn main() {}
