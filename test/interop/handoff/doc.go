// Package handoff holds the tests of the carriers of transport/handoff against programs in Python,
// which were written from the descriptions of the originals: jsoncomm.py exchanges JSON documents
// with descriptors, socketsession.py socket sessions in the form of BIND 10, beam.py messages with
// an attachment.
//
// Without python3 the tests are skipped, with the reason; where CNODE_TEST_REQUIRE is set they
// fail.
package handoff
