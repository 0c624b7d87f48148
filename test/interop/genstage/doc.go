// Package genstage runs nodes/genstage against GenStage itself, on nodes of Elixir 1.14, 1.18 and
// 1.20.
//
// The Hex package is not to be had where the tests run. CNODE_TEST_BEAM_PEERS names a folder with
// the sources of other programs, of which gen_stage/lib are GenStage's; without it the tests are
// skipped:
//
//	git clone https://github.com/elixir-lang/gen_stage /tmp/peers/gen_stage
//	CNODE_TEST_BEAM_PEERS=/tmp/peers go test ./test/interop/genstage
package genstage
