// Package sekisho is the whole system in one value: New builds every part and
// joins them, Run serves until it is told to stop.
//
// A tour of the code begins with sekisho.go, which shows all parts; then
// internal/checkpoint, the door every call passes; then one service, such as
// internal/service/kms. docs/adding-an-operation.md says how to change it.
package sekisho
