mod plans;
mod ranges;
mod rows;
