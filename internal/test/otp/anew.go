package otp

import "testing"

// Anew makes a node as if it had just been started, so that another test can have it: it has no
// connections, what has been registered since the first Anew is killed, but for what the kernel has
// started since, and a new process evaluates. Modules and persistent terms stay.
func (n *Node) Anew(t testing.TB) {
	t.Helper()
	n.Do(t, `Own = persistent_term:get(own, registered()), persistent_term:put(own, Own),
		[exit(whereis(P), kill) || P <- registered() -- Own, is_pid(whereis(P)), {_, D} <- [process_info(whereis(P), dictionary)],
			not lists:member(kernel_safe_sup, proplists:get_value('$ancestors', D, []))],
		[disconnect_node(N) || N <- nodes(connected)]`)
	n.Eval(t, "exit(self(), kill), receive after infinity -> ok end")
	n.Becomes(t, "nodes(connected)", "[]")
}
