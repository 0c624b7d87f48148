// Package otp is what OTP's own processes say to each other: the requests and replies of gen, the
// options of a spawn request, and terms in the form that any runtime system accepts. Terms in,
// values out: it knows no node, and nothing in it waits.
package otp
