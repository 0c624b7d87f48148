%% Functions that rules are about.
-module(shop).
-export([quote/1, quote/2, loop/0]).

quote(X) -> {price, X}.

quote(X, Y) -> note:w({quote2, X, Y}).

%% A process that sends back what it gets.
loop() ->
    receive
        {From, Message} -> From ! {self(), Message}, loop();
        stop -> ok
    end.
