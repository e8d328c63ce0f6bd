"""Show Trainer's progress on toxlib's bars."""

from transformers import ProgressCallback

from toxlib.progress import progress


class ProgressBar(ProgressCallback):
    """Trainer's progress on toxlib's bars, which look alike in a terminal, Jupyter and a log."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.current_step = state.global_step  # not 0 if a killed training goes on
        if state.is_world_process_zero:
            self.training_bar = progress(total=state.max_steps, description="Train", unit="step")
            self.training_bar.update(state.global_step)

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs):
        if state.is_world_process_zero and self.prediction_bar is None:
            batches = len(eval_dataloader)
            inside = self.training_bar is not None
            self.prediction_bar = progress(
                total=batches, description="Evaluate", unit="batch", inside=inside
            )
        super().on_prediction_step(args, state, control, eval_dataloader, **kwargs)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self.training_bar is not None and "loss" in logs:
            self.training_bar.set_postfix(loss=f"{float(logs['loss']):.4f}", refresh=False)
