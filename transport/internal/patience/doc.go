// Package patience holds what calls that may wait have in common: until when they wait, and in
// which order. It knows no descriptor.
package patience
