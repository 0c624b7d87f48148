%% Native records, which OTP 29 and later have.
-module(records).
-export([all/0]).
-export_record([point]).

-record #point{x = 1, y}.
-record #private{a}.
-record #empty{}.

all() ->
    [{record, #point{y = 2}}, {record_with_all, #point{x = <<"x">>, y = [a | b]}}, {private_record, #private{a = {1, "2"}}},
     {empty_record, #empty{}}, {records_in_records, [#{#point{y = 1} => #private{a = #point{y = #empty{}}}}]}].
