"""Boards without hardware: the firmware's own files on the real MicroPython, with a flash, chips and Wi-Fi that are
emulated."""

from gateway.emulator.board import BoardFailed, EmulatedBoard, Ending
from gateway.emulator.interpreter import Interpreter, NoInterpreter, find_interpreter

__all__ = ["BoardFailed", "EmulatedBoard", "Ending", "Interpreter", "NoInterpreter", "find_interpreter"]
