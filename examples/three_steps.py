"""Train; share and serve; connect and query: private inference from one Python program.

    python examples/three_steps.py

Step 1, training, is done: ``train_short_conv_mnist.py`` made the network that is shared here.
Starts three parties and a gateway as processes of this machine. For real use three organisations
run the parties, and ``libmpc.Cluster.from_file("deployment.yaml")`` takes the place of
``libmpc.LocalCluster()``; the rest stays as it is.
"""

from __future__ import annotations

import numpy as np

import libmpc
from libmpc import data


def main() -> None:
    images, labels = data.digits()
    images, labels = images[:8], labels[:8]

    with libmpc.LocalCluster() as cluster:
        # Step 2, the owner of the model: from here on no party can read a weight.
        model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
        served = cluster.share(model, name="mnist")
        served.serve(num_requests=3)

        # Step 3, a client: knows the deployment, not the model; nobody sees its images.
        with libmpc.Client(cluster.deployment) as client:
            logits = client.query("mnist", images)

        served.stop()  # still shared, no longer answers

    print("predicted:", *logits.argmax(axis=1))
    print("labels:   ", *labels)
    # Not "close": the same bits as the fixed-point reference computes without any sharing.
    if not np.array_equal(logits, model.reference(images)):
        raise SystemExit("the answer differs from the reference: please report this as a bug")
    print("equal to the plaintext reference, bit for bit")


if __name__ == "__main__":
    main()
