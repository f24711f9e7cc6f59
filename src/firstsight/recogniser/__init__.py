"""A method with its classes that answers on pictures: top answers, rejection, ONNX graphs."""
