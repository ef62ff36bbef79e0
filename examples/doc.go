// Package examples holds the tests of the examples and of the documentation.
//
// Each directory beside this file is an image: its spec, its sources, and a README
// whose commands can be typed. The tests type them: every command in a console
// block of the examples and the documentation is run, in a copy of the checkout,
// and has to print what stands below it; every YAML block has to be a spec.
package examples
