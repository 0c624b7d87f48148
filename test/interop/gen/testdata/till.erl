-module(till).
-export([sale/0, colour/1]).
-type colour() :: red | green.
-record(item, {name :: binary(), colour = red :: colour()}).
-record(sale, {
    id = 0 :: non_neg_integer(),
    items = [] :: [#item{}],
    first :: #item{} | undefined,
    text = "" :: string(),
    any
}).
-spec colour(#item{}) -> colour().
colour(#item{colour = C}) -> C.
sale() -> #sale{}.
