// Package permission holds the table of what peers can reach on a node that has all packages, and
// which rule of Config.Rules guards it.
package permission
