// Package gate stands between Erlang nodes: nodes of lower trust reach a node through it, under
// that node's name, and may do there what rules allow.
//
// A BEAM has no rules. Whoever has its cookie may run any function on it. A gate lets the nodes of
// a customer's site, a device, or CI call a few functions and servers, and nothing else. To both
// nodes it looks like the other one: no pid is rewritten, and neither needs code or options for
// it.
//
//	ci@build ──TLS, cookie A──► gate ──TCP, cookie B──► shop@inside
//
// # What the gate does
//
// The handshake goes through the gate message by message. Each side proves its own cookie to the
// gate: the digests are made anew, and everything else stays, but for flags that the gate does not
// know, FlagPublished (nodes see each other as hidden ones) and the atom cache.
//
// Then frames go through in both directions. The node behind is trusted: what it sends passes, and
// the gate remembers what it has asked, so that the answers may come. What the other one sends
// passes if a rule allows it. The gate reads the whole payload first, and counts what a BEAM keeps
// of it: atoms and funs, which it never forgets until it ends with too many, and incarnations of
// nodes. A message in fragments waits in the gate until its last fragment is there.
//
// Signals of links and monitors need no rule, and pass where there is a link or a monitor. One
// whose reason is refused passes with the reason eacces, and a refused answer ends the call: nobody
// inside waits for what a peer may not say.
//
// What is refused does not reach the node behind, and is answered so that no caller waits for its
// time to be over:
//
//	monitor                       DOWN, noproc
//	link                          EXIT, noproc
//	a function (rpc, erpc, spawn) an error or SPAWN_REPLY, eacces
//	a request with a monitor      DOWN, eacces
//	a message, exit/2, group_leader/2  nothing, as messages to no process
//
// # What the gate does not do
//
// It narrows what a peer can do, and is no sandbox. A function or server that a rule allows reads
// untrusted terms. A rule with MaySend lets a peer say everything to a process but what sys and
// supervisors say, and what would have a group leader or a file run a function; for a gen_server
// use MayRequest. A supervisor runs any function that it is asked to: allow no requests to it.
//
// # Moving
//
// [Gate.Give] hands all sockets to another process, which goes on with [Take]: no node hears of it.
// The command cnode-gate does so on SIGHUP, and reads its configuration anew by the same means.
package gate
