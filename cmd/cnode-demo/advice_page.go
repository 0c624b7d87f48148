package main

// troubleshooting is the page on which each kind of error that has a section is explained at
// length.
const troubleshooting = "docs/operate/troubleshooting.md"

// sections gives, by the kind of an advice, the section of the page that says more than the advice.
var sections = map[string]string{
	"wrong cookie":              "wrong-cookie",
	"TLS":                       "tls",
	"flag refused":              "mandatory-distribution-flags-are-missing",
	"not allowed":               "not_allowed-the-accepting-node-does-not-allow-it",
	"connected under this name": "already-connected",
	"own name":                  "a-node-cannot-connect-to-its-own-name",
	"another node":              "another-node-than-the-expected-one",
	"closed early":              "handshake-failed",
	"name taken":                "the-name-is-already-registered-by-another-node",
	"not registered":            "the-name-is-not-registered",
	"no port mapper":            "no-port-mapper-is-listening-there",
	"no port mapper's protocol": "other-messages-of-the-port-mapper",
	"port mapper refuses":       "other-messages-of-the-port-mapper",
	"port mapper hangs":         "other-messages-of-the-port-mapper",
	"unknown host":              "the-host-part-of-the-node-name-has-no-address",
	"cookie file":               "no-cookie-given",
	"no such function":          "badarg-or-undef-from-a-go-function",
	"TLS at the other end":      "malformed-handshake-message",
	"another hand-off":          "another-hand-off-is-going-on",
	"refused":                   "connection-refused",
	"connection lost":           "nodedown-noconnection",
}
