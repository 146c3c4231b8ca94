"""OpenCV's DNN module, which reads the Caffe files themselves."""

import cv2
import numpy as np

import worker


def main():
    job, loaded = worker.job(), worker.peak_memory()
    cv2.setNumThreads(job["threads"])
    net = cv2.dnn.readNetFromCaffe(job["net"], job["weights"])
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
    data = np.load(job["inputs"])["data"]

    def run():
        net.setInput(data)
        return net.forward()

    times = worker.measure(run, job["iterations"], job["warm"])
    worker.report(job, times, loaded, output=run())


main()
