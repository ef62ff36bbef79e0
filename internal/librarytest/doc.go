// Package librarytest checks what a program that imports package varve relies on.
package librarytest
