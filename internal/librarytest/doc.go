// Package librarytest holds package varve to what a program that imports it relies on.
package librarytest
