// Package tutorial does what the pages of docs/tutorial say, as a reader would: in an empty folder,
// it writes the files, types the lines of the shells, and compares what should be seen with what
// comes.
//
// Blocks of sh are typed, those of elixir and erlang are sessions of iex and erl, and those of text
// have to be seen in one of the terminals. A block after "<!-- from FILE -->" is a file of
// examples/tutorial. "…" stands for anything. A block without a language is only shown.
//
// Phoenix.PubSub is a Hex package, which cannot be had where the tests run. CNODE_TEST_BEAM_PEERS
// names a folder with its sources, as phoenix_pubsub; without it the test leaves out the chapter
// that needs it.
package tutorial
