// Package beam tests the package cnode for Erlang and Elixir, in folder beam, with each release of
// OTP: its own tests, and workers that serve sessions of a front.Keeper while they are killed and
// restarted.
//
// If CNODE_TEST_BEAM_PEERS names a folder with the sources of ranch, cowlib, cowboy, telemetry,
// mime, plug_crypto, plug, websock, hpax, thousand_island and bandit, each in a folder of its name,
// the web servers are restarted, too. CNODE_TEST_BEAM_SESSIONS is another number of sessions after
// which no descriptor may be left.
package beam
